// Where the step of the recommended layout goes: what it waits for, and what is hidden behind that.
#include <fmt/format.h>

#include <algorithm>

#include "reports/section.hpp"
#include "reports/text.hpp"
#include "reports/vega.hpp"

namespace tw {
namespace {

struct TermRow {
  std::string name, source;
  double exposed = 0, seconds = 0;
};

std::vector<TermRow> terms_of(const JsonView& prediction) {
  std::vector<TermRow> out;
  const JsonView terms = prediction.at("terms");
  for (std::size_t i = 0; i < terms.size(); ++i) {
    out.push_back({terms[i].at("name").string(), terms[i].at("source").string(),
                   number_at(terms[i], "exposed_seconds"), number_at(terms[i], "seconds")});
  }
  return out;
}

DataTable waterfall(const std::vector<TermRow>& terms) {
  DataTable out({{"term", "term"},
                 {"from", "from", Show::seconds},
                 {"to", "to", Show::seconds},
                 {"exposed", "adds to the step", Show::seconds},
                 {"source", "source"}});
  double at = 0;
  for (const TermRow& term : terms) {
    if (term.exposed == 0) continue;
    out.row({term.name, at, at + term.exposed, term.exposed, term.source});
    at += term.exposed;
  }
  out.row({"step", 0.0, at, at, "sum"});
  return out;
}

constexpr std::string_view kWaits = "the step waits for it", kHidden = "hidden behind other work";

DataTable busy(const std::vector<TermRow>& terms) {
  DataTable out({{"term", "term"}, {"part", "part"}, {"seconds", "seconds", Show::seconds}});
  for (const TermRow& term : terms) {
    const double hidden = std::max(term.seconds - term.exposed, 0.0);
    if (term.exposed > 0) out.row({term.name, std::string(kWaits), term.exposed});
    if (hidden > 0) out.row({term.name, std::string(kHidden), hidden});
  }
  return out;
}

Json waterfall_marks(const DataTable& table) {
  Json encoding = Json::parsed(R"vega({
    "y": {"field": "term", "type": "nominal", "sort": null, "title": null},
    "x": {"field": "from", "type": "quantitative", "title": "seconds"}, "x2": {"field": "to"}})vega");
  encoding.set("color", coloured(table, "source",
                                 {{"measured", "var(--c3)"},
                                  {"published", "var(--c6)"},
                                  {"derived", "var(--c1)"},
                                  {"sum", "var(--c8)"}}));
  return Json::parsed(R"vega({"mark": {"type": "bar", "cornerRadius": 1}})vega").set("encoding", encoding);
}

Json busy_marks(const DataTable& table) {
  Json encoding = Json::parsed(R"vega({
    "y": {"field": "term", "type": "nominal", "sort": null, "title": null},
    "x": {"field": "seconds", "type": "quantitative", "title": "seconds of the step"},
    "order": {"field": "part", "sort": "descending"}})vega");
  Json colour = coloured(table, "part", {{kWaits, "var(--c1)"}, {kHidden, "var(--faint)"}});
  colour.set("legend", Json::parsed(R"vega({"columns": 1, "labelLimit": 200})vega"));
  return Json::object().set("mark", "bar").set("encoding", encoding.set("color", colour));
}

std::vector<Piece> build(const JsonView& result) {
  const auto winner = winner_of(result);
  if (!winner) return {};
  const std::vector<TermRow> terms = terms_of(winner->prediction);
  if (terms.empty()) return {};
  const auto most = std::max_element(
      terms.begin(), terms.end(), [](const TermRow& a, const TermRow& b) { return a.exposed < b.exposed; });
  const double step = number_at(winner->prediction, "step_time_s");
  const DataTable parts = waterfall(terms), all = busy(terms);
  return {fmt::format("One step of the slowest stage takes {}, most of it for {} ({:.0f}%).",
                      seconds_text(step), most->name, 100 * most->exposed / step),
          Chart{"What the step waits for, one term after another", "Waterfall of the terms of one step",
                parts, waterfall_marks(parts), 18, "term"},
          Chart{"All work of each term: waited for, and hidden behind other work",
                "Exposed and hidden seconds of each term", all, busy_marks(all), 18, "term"}};
}

}  // namespace

namespace sections {
extern constinit const Section time;
constinit const Section time = {"time", 2, "Time", build};
}  // namespace sections
}  // namespace tw
