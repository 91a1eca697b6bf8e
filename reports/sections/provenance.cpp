// Where the numbers of the recommendation come from, how wide their error makes the band, and which
// measurement would narrow it most.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

// What narrows a part of the band.
struct Remedy {
  std::string_view curve, advice;
};
constexpr Remedy kRemedies[] = {
    {"gemm", "trainwright calibrate --device cuda --only gemm, at this model's shapes"},
    {"grouped_gemm", "trainwright calibrate --device cuda --only grouped_gemm, with this model's experts"},
    {"attention", "trainwright calibrate --device cuda --only attention, at this sequence length"},
    {"elementwise", "trainwright calibrate --device cuda --only elementwise"},
    {"copy", "trainwright calibrate --device cuda --only copies"},
    {"intra_collective", "trainwright calibrate import-nccl-tests with logs of one node"},
    {"inter_collective", "trainwright calibrate import-nccl-tests with logs between nodes"},
    {"point_to_point", "trainwright calibrate import-nccl-tests with a sendrecv log"},
    {"host", "trainwright calibrate --device cuda --only launches, on the host that will run"},
    {"whole_step", "trainwright confirm: short runs of this framework on these GPUs"}};

std::string advice_for(const std::string& curve) {
  const auto found = std::find_if(std::begin(kRemedies), std::end(kRemedies),
                                  [&](const Remedy& each) { return each.curve == curve; });
  return found == std::end(kRemedies) ? std::string() : std::string(found->advice);
}

DataTable sources(const JsonView& terms, double step) {
  DataTable out({{"term", "term"},
                 {"exposed", "adds to the step", Show::seconds},
                 {"share", "of the step", Show::percent},
                 {"source", "source"},
                 {"range", "calibrated range"}});
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const double exposed = number_at(terms[i], "exposed_seconds");
    out.row({terms[i].at("name").string(), exposed, exposed / step, terms[i].at("source").string(),
             std::string(terms[i].at("extrapolated").boolean() ? "extrapolated in part" : "inside")});
  }
  return out;
}

// Half-widths of the 80% band with all parts, and without one of them.
DataTable parts_of(const JsonView& band, double half, double step) {
  double squares = 0;
  for (std::size_t i = 0; i < band.size(); ++i) squares += std::pow(number_at(band[i], "spread_s"), 2);
  DataTable out({{"curve", "what is uncertain"},
                 {"share", "of the band, in squares", Show::percent},
                 {"without", "band if it were exact, plus or minus", Show::percent},
                 {"advice", "what would tell more"}});
  for (std::size_t i = 0; i < band.size(); ++i) {
    const double own = std::pow(number_at(band[i], "spread_s"), 2);
    const std::string curve = band[i].at("curve").string();
    if (own == 0 || squares == 0) continue;
    out.row(
        {curve, own / squares, half / step * std::sqrt(std::max(1 - own / squares, 0.0)), advice_for(curve)});
  }
  return out;
}

Json band_marks() {
  return Json::parsed(R"vega({
    "mark": "bar",
    "encoding": {"y": {"field": "curve", "type": "nominal", "sort": null, "title": null},
                 "x": {"field": "share", "type": "quantitative", "title": "share of the band (errors add in squares)",
                       "axis": {
    "format" : "%"}
}
}
})vega");
}

std::string by_source(const JsonView& terms, double step) {
  std::vector<std::pair<std::string, double>> sums;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const std::string source = terms[i].at("extrapolated").boolean()
                                   ? terms[i].at("source").string() + ", extrapolated in part"
                                   : terms[i].at("source").string();
    const auto found =
        std::find_if(sums.begin(), sums.end(), [&](const auto& each) { return each.first == source; });
    if (found == sums.end())
      sums.emplace_back(source, number_at(terms[i], "exposed_seconds"));
    else
      found->second += number_at(terms[i], "exposed_seconds");
  }
  std::string out;
  for (const auto& [source, seconds] : sums)
    out += fmt::format("{}{:.0f}% {}", out.empty() ? "" : "; ", 100 * seconds / step, source);
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  const auto winner = winner_of(result);
  if (!winner) return {};
  const JsonView p = winner->prediction, terms = p.at("terms");
  const double step = number_at(p, "step_time_s"), half = number_at(p, "step_time_high_s") - step;
  std::vector<Piece> out = {
      fmt::format("The step is {} plus or minus {} in four of five cases. By source: {}.", seconds_text(step),
                  seconds_text(half), by_source(terms, step))};
  const auto band = p.find("band");
  const DataTable parts = band ? parts_of(*band, half, step) : DataTable({});
  if (!parts.empty()) {
    const std::string advice = advice_for((*band)[0].at("curve").string());
    if (!advice.empty()) out.push_back("To narrow the band first: " + advice + ".");
    out.push_back(Chart{"What the band is made of, and what would narrow it", "Shares of the band by curve",
                        parts, band_marks(), 18, "curve"});
  }
  out.push_back(Listed{"The source of each term", sources(terms, step)});
  if (const auto reliability = result.find("reliability")) {
    const JsonView list = reliability->at("sources");
    for (std::size_t i = 0; i < list.size(); ++i) out.push_back(list[i].string() + ".");
  }
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section provenance;
constinit const Section provenance = {"provenance", 9, "Where the numbers come from", build};
}  // namespace sections
}  // namespace tw
