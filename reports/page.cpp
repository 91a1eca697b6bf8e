#include "reports/page.hpp"

#include <fmt/format.h>

#include "reports/page_style.hpp"
#include "reports/text.hpp"
#include "reports/vega.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

// JSON inside a script element: no "</script" and no comment can stand in it.
std::string in_script(const Json& json) {
  std::string out;
  for (const char c : json.dump(-1)) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

std::string scrolling(std::string_view label, const DataTable& table) {
  return fmt::format("<div class=scroll tabindex=0 role=region aria-label=\"{}\">{}</div>\n", escaped(label),
                     table.html());
}

std::string chart_html(const Chart& chart) {
  return fmt::format(
      "<figure><figcaption>{}</figcaption>\n<div class=chart role=img aria-label=\"{}\"></div>"
      "<script type=\"application/json\" class=spec>{}</script>\n"
      "<details{}><summary>The data of this chart as a table</summary>{}</details></figure>\n",
      escaped(chart.caption), escaped(chart.says), in_script(spec_of(chart)), chart.unfolded ? " open" : "",
      scrolling(chart.caption, chart.data));
}

std::string listed_html(const Listed& listed) {
  const std::string table = scrolling(listed.caption, listed.data);
  if (listed.folded)
    return fmt::format("<details><summary>{}</summary>{}</details>\n", escaped(listed.caption), table);
  return fmt::format("<figure><figcaption>{}</figcaption>{}</figure>\n", escaped(listed.caption), table);
}

std::string piece_html(const Piece& piece) {
  if (const auto* text = std::get_if<std::string>(&piece)) return "<p>" + escaped(*text) + "</p>\n";
  if (const auto* chart = std::get_if<Chart>(&piece)) return chart_html(*chart);
  return listed_html(std::get<Listed>(piece));
}

struct Fact {
  std::string_view key, title;
};
constexpr Fact kFacts[] = {{"model", "model"},
                           {"cluster", "cluster"},
                           {"launch", "launch"},
                           {"gpus", "GPUs"},
                           {"global_batch", "global batch, sequences"},
                           {"seq", "tokens per sequence"},
                           {"precision", "precision"},
                           {"framework", "framework"},
                           {"calibration", "calibration"},
                           {"calibration_source", "its source"},
                           {"tokens", "tokens"},
                           {"deadline_d", "deadline, days"},
                           {"budget_usd", "budget, USD"},
                           {"price_usd_per_gpu_hour", "price of a GPU-hour, USD"},
                           {"fixed", "fixed"},
                           {"rows_file", "rows"}};

std::string fact_text(const JsonView& value, std::string_view key) {
  if (value.is_string()) return value.string();
  if (key == "tokens") return tokens_text(value.integer());
  if (value.is_integer()) return count_text(value.integer());
  return value.is_number() ? fmt::format("{:g}", value.number()) : std::string();
}

std::string facts_html(const JsonView& result) {
  std::string out;
  for (const Fact& fact : kFacts) {
    const auto value = result.find(fact.key);
    const std::string text = value ? fact_text(*value, fact.key) : std::string();
    if (!text.empty()) out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", fact.title, escaped(text));
  }
  return out.empty() ? out : "<dl>\n" + out + "</dl>\n";
}

std::string title_of(const JsonView& result) {
  std::string out = "Trainwright " + kind_of(result);
  if (const auto model = result.find("model")) out += ": " + model->string();
  if (const auto cluster = result.find("cluster")) out += " on " + cluster->string();
  return out;
}

std::string head_html(const JsonView& result) {
  std::string out = "<h1>" + escaped(title_of(result)) + "</h1>\n";
  if (const auto answer = result.find("answer"))
    out += "<p class=answer>" + escaped(answer->string()) + "</p>\n";
  if (const auto winner = winner_of(result))
    out += "<p class=layout>" + escaped(winner->prediction.at("layout").string()) + "</p>\n";
  return out + facts_html(result);
}

// The sections of one result, and the links to them.
struct Body {
  std::string links, sections;
};

Body body_of(const JsonView& result, std::size_t index) {
  Body out;
  const std::string kind = kind_of(result);
  for (const Section* section : in_display_order(all_sections())) {
    const std::vector<Piece> pieces = section->build(result);
    if (pieces.empty()) continue;
    const std::string id = fmt::format("{}-{}", section->name, index);
    out.links += fmt::format("<a href=\"#{}\">{}</a>\n", id, escaped(section->title));
    out.sections += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", id, escaped(section->title));
    for (const Piece& piece : pieces) out.sections += piece_html(piece);
    out.sections += "</section>\n";
  }
  if (out.sections.empty()) result.at("schema").fail("a result of `" + kind + "` has nothing for a page");
  return out;
}

// Nothing but what stands in the page may be loaded. Vega compiles expressions: unsafe-eval.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:";

}  // namespace

std::string page_of(const std::vector<JsonView>& results) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
      "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=Content-Security-Policy content=\"{}\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<a class=skip href=\"#main\">To the answer</a>\n<main id=main>\n",
      kPolicy, escaped(title_of(results.front())), kStyle);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Body body = body_of(results[i], i);
    out += "<article>\n<header>\n" + head_html(results[i]) + "</header>\n";
    out += fmt::format("<nav aria-label=\"Sections of result {}\">\n{}</nav>\n", i + 1, body.links);
    out += body.sections + "</article>\n";
  }
  out +=
      "</main>\n<footer>Written by Trainwright. Charts drawn by Vega, Vega-Lite and Vega-Embed "
      "(BSD-3-Clause).</footer>\n"
      "<script>" +
      chart_library() + "</script>\n<script>" + std::string(kStart) + "</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace tw
