#include <fmt/format.h>

#include <algorithm>

#include "reports/staged_result.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

constexpr std::string_view kStagedSchema = "trainwright.staged/1";

Json stage_json(const StageCostRow& stage) {
  return Json::object()
      .set("gpu", stage.gpu)
      .set("gpus", stage.gpus)
      .set("time_h", in_hours(stage.time))
      .set("cost_usd", stage.cost.value)
      .set("waiting_usd", stage.waiting ? Json(stage.waiting->value) : Json());
}

Json row_json(const StagedRow& row) {
  Json stages = Json::array();
  for (const StageCostRow& stage : row.stages) stages.push(stage_json(stage));
  return Json::object()
      .set("name", row.name)
      .set("baseline", stage_json(row.baseline))
      .set("stages", stages)
      .set("time_h", in_hours(row.time))
      .set("cost_usd", row.cost.value)
      .set("saving", row.saving)
      .set("published_saving", row.published_saving ? Json(*row.published_saving) : Json())
      .set("break_even_price_ratio", row.break_even ? Json(*row.break_even) : Json());
}

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

std::string usd(Dollars dollars) {
  return fmt::format("{:.2f}", dollars.value);
}

std::string rows_table(const StagedResult& r, int width) {
  Table table({{"", Align::left},
               {"on one kind, USD"},
               {"hours", Align::right, 2},
               {"stages, USD"},
               {"sum, USD"},
               {"of it waiting", Align::right, 3},
               {"hours", Align::right, 1},
               {"saving"},
               {"published"},
               {"break-even ratio"}});
  for (const StagedRow& row : r.rows) {
    std::string stages;
    std::optional<Dollars> waiting = Dollars(0);
    for (const StageCostRow& stage : row.stages) {
      stages += (stages.empty() ? "" : " + ") + usd(stage.cost);
      waiting = waiting && stage.waiting ? std::optional(*waiting + *stage.waiting) : std::nullopt;
    }
    table.row({row.name, usd(row.baseline.cost), fmt::format("{:.2f}", in_hours(row.baseline.time)), stages,
               usd(row.cost), waiting ? usd(*waiting) : "-", fmt::format("{:.2f}", in_hours(row.time)),
               percent(row.saving), row.published_saving ? percent(*row.published_saving) : "-",
               row.break_even ? fmt::format("{:.3f}", *row.break_even) : "never"});
  }
  return table.text(width);
}

std::string answer_of(const StagedResult& r) {
  const auto by_saving = [](const StagedRow& a, const StagedRow& b) { return a.saving < b.saving; };
  const auto [least, most] = std::minmax_element(r.rows.begin(), r.rows.end(), by_saving);
  return fmt::format("stages save {} to {} of the cost", percent(least->saving), percent(most->saving));
}

}  // namespace

Json to_json(const StagedResult& r) {
  Json rows = Json::array();
  for (const StagedRow& row : r.rows) rows.push(row_json(row));
  return Json::object()
      .set("schema", kStagedSchema)
      .set("answer", answer_of(r))
      .set("title", r.title)
      .set("source", r.source)
      .set("price_ratio", r.price_ratio)
      .set("rows", rows);
}

std::string to_text(const StagedResult& r, const Terminal& terminal, bool quiet) {
  std::string out = bold(wrapped(answer_of(r), terminal.width, 2), terminal);
  if (quiet) return out;
  out += wrapped(r.title, terminal.width, 2) + "\n" + rows_table(r, terminal.width);
  out += wrapped(
      fmt::format("A stage bills all its GPUs until the slowest is done. Break-even: the price of the "
                  "first stage's GPU over the other's at which both cost the same; now {:.3f}.",
                  r.price_ratio),
      terminal.width, 2);
  return out + wrapped("source: " + r.source, terminal.width, 2);
}

}  // namespace tw
