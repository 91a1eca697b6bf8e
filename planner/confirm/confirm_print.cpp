// The result of confirm as JSON and as text.
#include <fmt/format.h>

#include <algorithm>

#include "planner/confirm/confirm.hpp"
#include "reports/table.hpp"

namespace tw {
namespace {

std::string ms_text(double seconds) {
  return fmt::format("{:.1f} ms", in_ms(Seconds(seconds)));
}

double predicted_seconds(const Prediction& p, std::string_view term) {
  for (const TermPrediction& each : p.terms) {
    if (name_of(each.term) == term) return each.exposed;
  }
  return 0;
}

Json predicted_json(const Prediction& p) {
  return Json::object()
      .set("step_time_s", p.cost.step_seconds)
      .set("step_time_low_s", p.low_seconds)
      .set("step_time_high_s", p.high_seconds)
      .set("memory_gib", in_gib(Bytes(p.cost.memory.total())));
}

Json measured_json(const Measured& m) {
  Json losses = Json::array();
  for (const double loss : m.losses) losses.push(loss);
  return Json::object()
      .set("step_time_s", m.median_s)
      .set("p10_s", m.p10_s)
      .set("p90_s", m.p90_s)
      .set("memory_gib", in_gib(Bytes(m.memory_bytes)))
      .set("loss", losses);
}

Json terms_json(const ConfirmedLayout& each) {
  Json out = Json::array();
  for (const auto& [name, seconds] : each.measured->terms) {
    out.push(Json::object()
                 .set("name", name)
                 .set("predicted_s", predicted_seconds(each.predicted, name))
                 .set("measured_s", seconds));
  }
  return out;
}

std::string terms_text(const ConfirmedLayout& first, int width) {
  Table table({{"term", Align::left}, {"predicted"}, {"measured"}, {"difference"}});
  for (const auto& [name, seconds] : first.measured->terms) {
    const double predicted = predicted_seconds(first.predicted, name);
    table.row({name, ms_text(predicted), ms_text(seconds),
               fmt::format("{:+.1f} ms", in_ms(Seconds(predicted - seconds)))});
  }
  return table.text(width);
}

std::string verdict(const Confirmed& r) {
  std::string out = fmt::format("mean error of the step time {:.1f}%", 100 * r.mean_error());
  out += fmt::format("; the plan's first is {:.1f}% behind the fastest measured", 100 * r.regret());
  const Confirmed::Order order = r.order();
  if (order.kendall_tau)
    out += fmt::format("; order: Kendall's tau {:.2f} over the {} of {} pairs that the runs tell apart",
                       *order.kendall_tau, order.told_apart, order.pairs);
  else if (order.pairs > 0)
    out += "; order: the runs overlap, none is faster than another";
  return out + (r.losses_fall() ? "; losses fall" : "; a loss does NOT fall");
}

std::string answer_of(const Confirmed& r) {
  const auto ran =
      std::count_if(r.layouts.begin(), r.layouts.end(), [](const auto& l) { return l.measured; });
  return ran == 0 ? "no run has ended yet" : verdict(r);
}

}  // namespace

Json to_json(const Confirmed& r) {
  Json layouts = Json::array();
  for (const ConfirmedLayout& each : r.layouts) {
    Json one = Json::object();
    one.set("layout", to_string(each.predicted.layout)).set("predicted", predicted_json(each.predicted));
    if (each.measured)
      one.set("measured", measured_json(*each.measured))
          .set("ratio", each.ratio())
          .set("terms", terms_json(each));
    if (!each.failed.empty()) one.set("failed", each.failed);
    layouts.push(one);
  }
  return Json::object()
      .set("schema", "trainwright.confirm/1")
      .set("plan", r.plan)
      .set("model", r.model)
      .set("cluster", r.cluster)
      .set("calibration", r.calibration)
      .set("answer", answer_of(r))
      .set("layouts", layouts);
}

std::string to_text(const Confirmed& r, int width) {
  Table table({{"#"},
               {"predicted"},
               {"measured"},
               {"10-90%", Align::right, 2},
               {"ratio"},
               {"band", Align::left},
               {"memory", Align::right, 1},
               {"loss", Align::right, 3},
               {"layout", Align::left}});
  for (std::size_t i = 0; i < r.layouts.size(); ++i) {
    const ConfirmedLayout& each = r.layouts[i];
    const std::string step = ms_text(each.predicted.cost.step_seconds);
    const std::string layout = to_string(each.predicted.layout);
    if (!each.measured) {
      table.row({std::to_string(i + 1), step, "failed", "", "", "", "", "", layout});
      continue;
    }
    const Measured& m = *each.measured;
    const bool inside = m.median_s >= each.predicted.low_seconds && m.median_s <= each.predicted.high_seconds;
    table.row({std::to_string(i + 1), step, ms_text(m.median_s),
               fmt::format("{:.1f}-{:.1f}", in_ms(Seconds(m.p10_s)), in_ms(Seconds(m.p90_s))),
               fmt::format("{:.2f}", each.ratio()), inside ? "inside" : "outside",
               fmt::format("{:.2f}/{:.2f} GiB", in_gib(Bytes(each.predicted.cost.memory.total())),
                           in_gib(Bytes(m.memory_bytes))),
               fmt::format("{:.2f}-{:.2f}", m.losses.front(), m.losses.back()), layout});
  }
  std::string out = table.text(width);
  for (std::size_t i = 0; i < r.layouts.size(); ++i) {
    if (!r.layouts[i].failed.empty()) out += fmt::format("run {} failed: {}\n", i + 1, r.layouts[i].failed);
  }
  const auto first =
      std::find_if(r.layouts.begin(), r.layouts.end(), [](const auto& l) { return l.measured; });
  if (first == r.layouts.end()) return out;
  out += fmt::format("\nWhere the time of run {} goes\n", first - r.layouts.begin() + 1) +
         terms_text(*first, width);
  return out + "\n" + verdict(r) + "\n";
}

}  // namespace tw
