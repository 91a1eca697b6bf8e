// Stages on cheaper GPUs, and a dense model beside the MoE of equal step time.
#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

DataTable costs_of(const JsonView& rows) {
  DataTable out({{"name", "run"},
                 {"how", "how"},
                 {"usd", "cost", Show::dollars},
                 {"hours", "hours", Show::number},
                 {"saving", "saving", Show::percent},
                 {"published", "saving published", Show::percent},
                 {"even", "break-even price ratio", Show::number}});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const JsonView row = rows[i], baseline = row.at("baseline");
    const std::string name = row.at("name").string();
    out.row({name, std::string("on one kind"), number_at(baseline, "cost_usd"), number_at(baseline, "time_h"),
             Cell(), Cell(), Cell()});
    out.row({name, std::string("in stages"), number_at(row, "cost_usd"), number_at(row, "time_h"),
             number_at(row, "saving"), cell_at(row, "published_saving"),
             cell_at(row, "break_even_price_ratio")});
  }
  return out;
}

DataTable models_of(const JsonView& rows) {
  DataTable out({{"name", "model"},
                 {"tokens", "tokens from the budget by time, in millions", Show::count},
                 {"flops", "by FLOPs, in millions", Show::count},
                 {"ffn", "ffn", Show::count},
                 {"parameters", "parameters", Show::count},
                 {"active", "active", Show::count},
                 {"step", "step", Show::seconds},
                 {"mfu", "MFU", Show::percent},
                 {"layout", "layout"}});
  const auto millions = [](const JsonView& row, std::string_view key) {
    return in_millions(number_at(row, key));
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const JsonView row = rows[i], best = row.at("best");
    out.row({row.at("name").string(), millions(row, "tokens_by_time"), millions(row, "tokens_by_flops"),
             number_at(row, "ffn"), number_at(row, "parameters"), number_at(row, "active_parameters"),
             number_at(best, "step_time_s"), number_at(best, "mfu"), best.at("layout").string()});
  }
  return out;
}

std::vector<Piece> of_staged(const JsonView& result) {
  return {Chart{"What each run costs on one kind of GPU, and in stages",
                "Bars of dollars with and without stages", costs_of(result.at("rows")), Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "name", "type": "nominal", "sort": null, "title": null},
                 "yOffset": {"field": "how", "sort": null},
                 "x": {"field": "usd", "type": "quantitative", "title": "USD"},
                 "color": {"field": "how", "type": "nominal", "sort": null}}})vega"),
                26, "name", true},
          result.at("title").string() + ". Source: " + result.at("source").string() + "."};
}

std::vector<Piece> of_equal_step(const JsonView& result) {
  std::vector<Piece> out;
  const JsonView assumptions = result.at("assumptions");
  const DataTable table = models_of(result.at("rows"));
  if (!table.empty())
    out.push_back(Chart{"Tokens that one budget of GPU-hours trains, each model with its best layout",
                        "Bars of tokens by model", table, Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "name", "type": "nominal", "sort": null, "title": null},
                 "x": {"field": "tokens", "type": "quantitative", "title": "millions of tokens"}}})vega"),
                        30, "name", true});
  for (std::size_t i = 0; i < assumptions.size(); ++i) out.push_back(assumptions[i].string() + ".");
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  const std::string kind = kind_of(result);
  if (kind == "staged") return of_staged(result);
  return kind == "equal-step" ? of_equal_step(result) : std::vector<Piece>{};
}

}  // namespace

namespace sections {
extern constinit const Section economics;
constinit const Section economics = {"economics", 0, "Economics", build};
}  // namespace sections
}  // namespace tw
