#include "planner/size/size.hpp"

#include <fmt/format.h>

#include "planner/parallel.hpp"
#include "planner/size/published.hpp"
#include "planner/space.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::string why_not(const PlannedPhase& planned, const JobPhase& phase, bool several) {
  const std::string where = several ? fmt::format(" for phase \"{}\"", phase.name) : "";
  if (planned.searched.legal == 0) return "no layout is legal" + where + " (" + planned.nothing_legal + ")";
  return "no layout fits in memory" + where;
}

void add(Searched& sum, const Searched& one) {
  sum.legal += one.legal, sum.evaluated += one.evaluated;
  sum.refused_by_memory += one.refused_by_memory, sum.pruned_by_bound += one.pruned_by_bound;
  sum.seconds += one.seconds;
}

// Tokens of part i of n: equal shares, the rest to the last.
std::int64_t share_of(std::int64_t tokens, std::size_t i, std::size_t n) {
  const std::int64_t each = tokens / static_cast<std::int64_t>(n);
  return i + 1 < n ? each : tokens - each * static_cast<std::int64_t>(n - 1);
}

SizePhase sized(const JobPhase& phase, PlannedPhase& planned) {
  SizePhase out{phase.name, phase.seq, {}};
  for (std::size_t i = 0; i < planned.parts.size(); ++i) {
    SizePart part;
    part.tokens = share_of(phase.tokens, i, planned.parts.size());
    part.global_batch = phase.batches[i];
    part.best = std::move(planned.parts[i].best);
    part.checkpoint = planned.parts[i].checkpoint;
    out.parts.push_back(std::move(part));
  }
  return out;
}

SizeRow row_of(std::int32_t gpus, const SizeSettings& settings, std::vector<PlannedPhase>& planned) {
  SizeRow row;
  row.gpus = gpus;
  for (std::size_t p = 0; p < planned.size(); ++p) {
    add(row.searched, planned[p].searched);
    row.searched.proven = true, row.limit = planned[p].limit;
    if (planned[p].parts.empty() && row.why_not.empty()) {
      row.why_not = why_not(planned[p], settings.phases[p], planned.size() > 1);
      row.near_misses = planned[p].near_misses;
    }
    row.phases.push_back(sized(settings.phases[p], planned[p]));
  }
  if (!row.why_not.empty()) row.phases.clear();
  return row;
}

// Numbers of GPUs dealt to as many hands as work side by side, there and back, so that each gets large and
// small ones.
std::vector<std::vector<std::size_t>> dealt(std::size_t counts, std::size_t hands) {
  std::vector<std::vector<std::size_t>> out(std::min(counts, hands));
  for (std::size_t i = 0; i < counts; ++i) {
    const std::size_t at = i % (2 * out.size());
    out[std::min(at, 2 * out.size() - 1 - at)].push_back(counts - 1 - i);
  }
  return out;
}

// Rows of several numbers of GPUs; each phase of each hand is a task of its own.
std::vector<SizeRow> rows_of(const Inputs& inputs, const SizeSettings& settings,
                             const std::vector<std::int32_t>& gpus, const std::string& what) {
  const std::size_t phases = settings.phases.size();
  const std::vector<std::vector<std::size_t>> hands = dealt(gpus.size(), parallel_tasks());
  std::vector<std::vector<PlannedPhase>> planned(gpus.size(), std::vector<PlannedPhase>(phases));
  JointProgress progress(settings.progress, what, hands.size() * phases);
  for_each_parallel(hands.size() * phases, [&](std::size_t task) {
    const std::vector<std::size_t>& hand = hands[task / phases];
    const std::size_t phase = task % phases;
    std::vector<std::int32_t> counts;
    for (const std::size_t row : hand) counts.push_back(gpus[row]);
    std::vector<PlannedPhase> found =
        plan_phase(inputs, settings.phases[phase], counts, settings.fixed, progress.report(task));
    for (std::size_t i = 0; i < hand.size(); ++i) planned[hand[i]][phase] = std::move(found[i]);
  });
  std::vector<SizeRow> rows;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    rows.push_back(row_of(gpus[i], settings, planned[i]));
    fill_row(rows.back(), inputs.cluster, settings);
  }
  return rows;
}

bool has(const Cluster& cluster, std::int32_t gpus) {
  try {
    (void)resized(cluster, gpus);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

// Every phase has a legal layout on it.
bool allows(const Inputs& inputs, const SizeSettings& settings, std::int32_t gpus) {
  for (const JobPhase& phase : settings.phases) {
    Inputs own = inputs;
    own.seq = phase.seq, own.global_batch = phase.batches.back(), own.training = phase.training;
    const Problem problem(own, gpus);
    if (for_each_layout(space_of(problem, settings.fixed), problem.job, [](const Layout&, Link) {}).legal ==
        0)
      return false;
  }
  return true;
}

// What the next node buys. Most counts divide neither the batch nor the layers: those are passed over.
std::optional<SizeMore> next_of(const Inputs& inputs, const SizeSettings& settings, const SizeRow& answer) {
  constexpr std::int32_t kMostNodes = 64;
  const std::int32_t node = resized(inputs.cluster, answer.gpus).gpus_per_node();
  for (std::int32_t more = 1; more <= kMostNodes; ++more) {
    const std::int64_t gpus = answer.gpus + std::int64_t{more} * node;
    if (gpus > kMostGpus) return std::nullopt;
    if (!has(inputs.cluster, static_cast<std::int32_t>(gpus))) continue;
    if (!allows(inputs, settings, static_cast<std::int32_t>(gpus))) continue;
    std::vector<SizeRow> rows = rows_of(inputs, settings, {static_cast<std::int32_t>(gpus)}, "the next node");
    return SizeMore{std::move(rows.front()), more, more - 1};
  }
  return std::nullopt;
}

std::int64_t tokens_of(const std::vector<JobPhase>& phases) {
  std::int64_t sum = 0;
  for (const JobPhase& phase : phases) sum += phase.tokens;
  return sum;
}

}  // namespace

std::vector<std::int32_t> default_gpus(const Cluster& cluster) {
  std::vector<std::int32_t> out;
  for (std::int32_t gpus = cluster.node.gpus; gpus <= kMostDefaultGpus; gpus *= 2) out.push_back(gpus);
  if (out.empty()) out.push_back(cluster.gpus);
  return out;
}

SizeResult make_size(const Inputs& inputs, const SizeSettings& settings) {
  TW_CHECK(!settings.gpus.empty() && !settings.phases.empty());
  for (const std::int32_t gpus : settings.gpus) (void)resized(inputs.cluster, gpus);  // refuses early
  SizeResult out;
  out.fixed = settings.fixed, out.tokens = tokens_of(settings.phases);
  out.deadline = settings.deadline, out.budget = settings.budget, out.price = settings.price;
  out.reliability = settings.reliability;
  out.rows = rows_of(inputs, settings, settings.gpus, "sizing");
  mark_pareto(out.rows);
  answer_size(out);
  const std::size_t answer = out.cheapest ? *out.cheapest : out.rows.size() - 1;
  out.question = question_of(Problem(inputs, out.rows[answer].gpus));
  if (out.cheapest) out.more = next_of(inputs, settings, out.rows[answer]);
  out.published = published_beside(inputs, out);
  return out;
}

}  // namespace tw
