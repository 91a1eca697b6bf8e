#include <fmt/format.h>

#include "reports/sim_result.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

constexpr std::size_t kLinksShown = 6, kOwnersShown = 4;

std::string head_of(const SimResult& r) {
  const double off = 100 * (r.step_seconds / r.closed_seconds - 1);
  return fmt::format("simulated step {} (closed form {}, {:+.1f}%){}", seconds_text(r.step_seconds),
                     seconds_text(r.closed_seconds), off, r.fits ? "" : "; it does not fit in memory");
}

std::string terms_of(const SimResult& r, int width) {
  Table table({{"term", Align::left}, {"of the step"}, {""}, {"what it is", Align::left, 1}});
  for (const SimTerm& term : r.terms)
    table.row({term.name, seconds_text(term.seconds),
               fmt::format("{:.1f}%", 100 * term.seconds / r.step_seconds), term.help});
  return table.text(width);
}

std::string links_of(const SimResult& r) {
  std::string out = "\nBusiest links, part of the step at full rate\n";
  for (std::size_t i = 0; i < std::min(r.links.size(), kLinksShown); ++i)
    out += fmt::format("  {:<24} {:.1f}%\n", r.links[i].name, 100 * r.links[i].busy);
  return out;
}

std::string memory_of(const SimResult& r) {
  std::string out = "\nMemory over time, at its peak\n";
  for (const SimMemory& m : r.memory) {
    out += fmt::format("  rank {} (stage {}): {} at {}:", m.rank, m.stage, gib_text(m.peak),
                       seconds_text(m.at_seconds));
    for (std::size_t i = 0; i < std::min(m.owners.size(), kOwnersShown); ++i)
      out += fmt::format("{} {} {}", i == 0 ? "" : ",", m.owners[i].first, gib_text(m.owners[i].second));
    out += "\n";
  }
  return out;
}

}  // namespace

std::string to_text(const SimResult& r, double wall, const Terminal& terminal, bool quiet) {
  const std::string head = head_of(r);
  if (quiet) return head + "\n";
  std::string out = bold(head, terminal) + "\n";
  out += fmt::format("{} on {} x {}, {} sequences of {} tokens, framework {}\nlayout {}\n", r.question.model,
                     r.question.gpus, r.question.cluster, r.question.global_batch, r.question.seq,
                     r.question.framework, to_string(r.layout));
  for (std::size_t i = 0; i < r.conditions.size(); ++i)
    out += fmt::format("{}{} {}", i == 0 ? "with " : ", ", r.conditions[i].first, r.conditions[i].second);
  if (!r.conditions.empty()) out += "\n";
  out += fmt::format(
      "{} ranks, {} played{}; {} operations ({} of the Program's lists), {} events in {}: {} events/s\n",
      count_text(r.ranks), count_text(r.players), r.contention ? ", links shared" : "",
      count_text(r.operations), count_text(r.listed), count_text(r.events), seconds_text(wall),
      count_text(static_cast<std::int64_t>(static_cast<double>(r.events) / std::max(wall, 1e-9))));
  out += fmt::format("{} bytes per operation of a stage, {} per rank played; stragglers {} (closed form)\n",
                     count_text(r.bytes_per_operation), count_text(r.bytes_per_rank),
                     seconds_text(r.straggler_seconds));
  out += fmt::format("\nTime of rank {}, which ends last\n", r.last_rank) + terms_of(r, terminal.width);
  if (!r.links.empty()) out += links_of(r);
  if (!r.memory.empty()) out += memory_of(r);
  return out;
}

Json to_json(const SimResult& r) {
  Json out = Json::object();
  out.set("schema", "trainwright.simulate.1")
      .set("model", r.question.model)
      .set("cluster", r.question.cluster);
  out.set("calibration", r.question.calibration).set("framework", r.question.framework);
  out.set("layout", to_string(r.layout)).set("global_batch", r.question.global_batch);
  out.set("seq", static_cast<std::int64_t>(r.question.seq))
      .set("gpus", static_cast<std::int64_t>(r.question.gpus));
  out.set("feasible", r.fits).set("contention", r.contention).set("unfolded", r.unfolded);
  Json conditions = Json::object();
  for (const auto& [name, value] : r.conditions) conditions.set(name, value);
  out.set("conditions", std::move(conditions));
  out.set("step_time_s", r.step_seconds).set("played_s", r.played_seconds);
  out.set("straggler_s", r.straggler_seconds).set("closed_form_step_time_s", r.closed_seconds);
  out.set("ranks_played", static_cast<std::int64_t>(r.players)).set("events", r.events);
  out.set("operations", r.operations).set("program_operations", r.listed);
  Json terms = Json::array(), links = Json::array(), memory = Json::array();
  for (const SimTerm& term : r.terms) {
    Json one = Json::object();
    one.set("name", term.name).set("seconds", term.seconds);
    terms.push(std::move(one));
  }
  for (const SimLinkUse& link : r.links) {
    Json one = Json::object();
    one.set("name", link.name).set("utilisation", link.busy);
    links.push(std::move(one));
  }
  for (const SimMemory& m : r.memory) {
    Json one = Json::object();
    one.set("rank", static_cast<std::int64_t>(m.rank)).set("peak_bytes", m.peak).set("at_s", m.at_seconds);
    memory.push(std::move(one));
  }
  out.set("terms", std::move(terms)).set("links", std::move(links)).set("memory", std::move(memory));
  return out;
}

}  // namespace tw
