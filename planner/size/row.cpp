// What a planned row takes: failures and checkpoints, repairs and spare nodes, dollars and energy.
#include <cmath>

#include "costmodel/goodput.hpp"
#include "planner/size/size.hpp"

namespace tw {
namespace {

// Zero where no rate is known: checkpoints then cost nothing, which the result's sources say.
Seconds write_time(Bytes bytes, const Cluster& cluster, const Reliability& r) {
  if (r.storage) return bytes / *r.storage;
  if (!r.storage_per_node) return Seconds(0);
  return bytes / (*r.storage_per_node * static_cast<double>(cluster.nodes()));
}

void fill_part(SizePart& part, const SizePhase& phase, const SizeRow& row, const Cluster& cluster,
               const SizeSettings& settings) {
  const Reliability& r = settings.reliability;
  const double valid = part.best.unique_tokens_per_s / part.best.tokens_per_s;
  part.steps = std::ceil(static_cast<double>(part.tokens) /
                         (static_cast<double>(part.global_batch) * phase.seq * valid));
  part.steps_time = Seconds(part.steps * part.best.cost.step_seconds);
  part.write = write_time(part.checkpoint, cluster, r);
  const Failures failures{row.between, part.write, r.detect + r.restart};
  part.interval = daly_interval(failures), part.young_interval = young_interval(failures);
  part.goodput = goodput(failures, part.interval);
  part.time = part.steps_time / part.goodput;
}

// Another layout starts from a checkpoint: one restart.
bool changes_layout(const SizePart& from, const SizePart& to) {
  return !(from.best.layout == to.best.layout);
}

void sum_parts(SizeRow& row, Seconds restart) {
  row.steps_time = row.time = Seconds(0);
  double straggling = 0;
  const SizePart* last = nullptr;
  for (const SizePhase& phase : row.phases) {
    for (const SizePart& part : phase.parts) {
      row.steps_time += part.steps_time, row.time += part.time;
      if (last && changes_layout(*last, part)) row.time += restart;
      straggling += part.steps * double{part.best.cost.terms[Term::stragglers]};
      last = &part;
    }
  }
  row.stragglers = straggling / row.steps_time.value;
}

// The job stands still while more nodes are under repair than there are spares.
void wait_for_repairs(SizeRow& row, const Cluster& cluster, const Reliability& r) {
  if (!r.repair) return;
  const double load = *r.repair / row.between;
  row.spare_nodes = r.spares ? *r.spares : cheapest_spares(cluster.nodes(), load);
  row.spare_gpus = row.spare_nodes * cluster.gpus_per_node();
  row.waiting = erlang_b(row.spare_nodes + 1, load);
  row.time = row.time / (1 - row.waiting);
}

}  // namespace

std::int32_t cheapest_spares(std::int32_t nodes, double load) {
  const auto cost = [&](std::int32_t spares) { return (nodes + spares) / (1 - erlang_b(spares + 1, load)); };
  std::int32_t spares = 0;
  while (cost(spares + 1) < cost(spares)) ++spares;
  return spares;
}

void fill_row(SizeRow& row, const Cluster& any_size, const SizeSettings& settings) {
  const Reliability& r = settings.reliability;
  const Cluster cluster = resized(any_size, row.gpus);
  row.between = r.mtbf_per_gpu / row.gpus;
  if (!row.why_not.empty()) return;
  for (SizePhase& phase : row.phases) {
    for (SizePart& part : phase.parts) fill_part(part, phase, row, cluster, settings);
  }
  sum_parts(row, r.restart);
  wait_for_repairs(row, cluster, r);
  row.goodput = row.steps_time / row.time;
  row.gpu_hours = row.gpus * in_hours(row.time);
  if (settings.price) row.cost = *settings.price * row.time * static_cast<double>(row.gpus + row.spare_gpus);
  if (cluster.device.power.value > 0) row.energy = cluster.device.power * row.time * row.gpus;
}

void mark_pareto(std::vector<SizeRow>& rows) {
  const auto cost = [](const SizeRow& row) { return row.cost ? row.cost->value : row.gpu_hours; };
  const auto beats = [&](const SizeRow& a, const SizeRow& b) {
    const bool as_good = a.gpus <= b.gpus && a.time <= b.time && cost(a) <= cost(b);
    return as_good && (a.gpus < b.gpus || a.time < b.time || cost(a) < cost(b));
  };
  for (SizeRow& row : rows) {
    row.pareto = row.why_not.empty();
    for (const SizeRow& other : rows) {
      if (other.why_not.empty() && beats(other, row)) row.pareto = false;
    }
  }
}

}  // namespace tw
