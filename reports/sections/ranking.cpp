// The ranked layouts of a plan: steps with their bands, and why each lost to the first.
#include <fmt/format.h>

#include <map>
#include <sstream>

#include "reports/section.hpp"
#include "reports/text.hpp"
#include "reports/vega.hpp"

namespace tw {
namespace {

std::string why(const JsonView& layout) {
  const auto behind = layout.find("behind_first");
  return behind ? behind->at("in_words").string() : "the first";
}

std::string told_apart(const JsonView& layout) {
  const auto behind = layout.find("behind_first");
  if (!behind) return "first";
  return behind->at("distinguishable").boolean() ? "slower" : "not distinguishable from the first";
}

std::vector<std::string> keys_of(const JsonView& layout) {
  std::vector<std::string> out;
  std::istringstream text(layout.at("layout").string());
  for (std::string key; std::getline(text, key, ',');) out.push_back(key);
  return out;
}

// The keys that some layout has and another has not; the others are said once.
struct Keys {
  std::vector<std::string> own;  // per layout
  std::string common;
};

Keys keys_of_all(const JsonView& layouts) {
  std::map<std::string, std::size_t> having;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    for (const std::string& key : keys_of(layouts[i])) ++having[key];
  }
  Keys out;
  const auto add = [](std::string& text, const std::string& key) { text += (text.empty() ? "" : " ") + key; };
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    out.own.emplace_back();
    for (const std::string& key : keys_of(layouts[i])) {
      if (having[key] < layouts.size())
        add(out.own.back(), key);
      else if (i == 0)
        add(out.common, key);
    }
  }
  return out;
}

DataTable ranked(const JsonView& layouts, const Keys& keys) {
  DataTable out({{"rank", "#"},
                 {"layout", "layout, where they differ"},
                 {"step", "step", Show::seconds},
                 {"low", "80% band from", Show::seconds},
                 {"high", "to", Show::seconds},
                 {"beside", "beside the first"},
                 {"tokens", "tokens/s/GPU", Show::count},
                 {"mfu", "MFU", Show::percent},
                 {"peak", "peak GiB", Show::gib},
                 {"why", "behind the first by"}});
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const JsonView one = layouts[i];
    out.row({fmt::format("#{}", i + 1), keys.own[i], number_at(one, "step_time_s"),
             number_at(one, "step_time_low_s"), number_at(one, "step_time_high_s"), told_apart(one),
             number_at(one, "tokens_per_s_per_gpu"), number_at(one, "mfu"),
             number_at(one.at("memory_gib"), "peak"), why(one)});
  }
  return out;
}

Json marks(const DataTable& table) {
  Json encoding =
      Json::parsed(R"vega({"y": {"field": "rank", "type": "nominal", "sort": null, "title": null}})vega");
  encoding.set("color", coloured(table, "beside",
                                 {{"first", "var(--c1)"},
                                  {"not distinguishable from the first", "var(--c6)"},
                                  {"slower", "var(--c2)"}}));
  return Json::parsed(R"vega({
    "layer": [
      {"mark": {"type": "bar", "height": 7, "opacity": 0.35, "cornerRadius": 3},
       "encoding": {"x": {"field": "low", "type": "quantitative", "title": "seconds per step, with its 80% band",
                          "scale": {"zero": false}},
                    "x2": {"field": "high"}}},
      {"mark": "point", "encoding": {"x": {"field": "step", "type": "quantitative"}}}]})vega")
      .set("encoding", encoding);
}

DataTable misses(const JsonView& list) {
  DataTable out({{"layout", "layout"},
                 {"peak", "peak GiB", Show::gib},
                 {"step", "step", Show::seconds},
                 {"fits", "fits with"},
                 {"then", "at", Show::seconds}});
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto remedy = list[i].find("fits_with");
    out.row({list[i].at("layout").string(), number_at(list[i].at("memory_gib"), "peak"),
             number_at(list[i], "step_time_s"), remedy ? remedy->string() : "no change of one key",
             cell_at(list[i], "fits_with_step_time_s")});
  }
  return out;
}

std::string searched(const JsonView& s) {
  return fmt::format("{} legal layouts: {} predicted, {} refused by memory{}.",
                     count_text(s.at("legal").integer()), count_text(s.at("evaluated").integer()),
                     count_text(s.at("refused_by_memory").integer()),
                     s.at("proven").boolean() ? "; nothing left out" : "");
}

std::vector<Piece> build(const JsonView& result) {
  if (kind_of(result) != "plan") return {};
  std::vector<Piece> out = {searched(result.at("searched"))};
  const JsonView layouts = result.at("layouts"), nearest = result.at("nearest_misses");
  if (layouts.size() > 0) {
    const Keys keys = keys_of_all(layouts);
    DataTable table = ranked(layouts, keys);
    out.push_back(
        Chart{"Where bands overlap, compare by what the layouts do not share: the colour says it",
              fmt::format("Predicted seconds per step of the {} best layouts with 80% bands", layouts.size()),
              table, marks(table), 22, "rank", true});
    if (layouts.size() > 1) out.push_back("All of them: " + keys.common);
  }
  if (nearest.size() > 0)
    out.push_back(
        Listed{layouts.size() > 0 ? "Faster, but refused by memory" : "Refused by memory, nearest first",
               misses(nearest)});
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section ranking;
constinit const Section ranking = {"ranking", 0, "Ranking", build};
}  // namespace sections
}  // namespace tw
