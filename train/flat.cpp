#include "train/flat.hpp"

#include <algorithm>
#include <map>

namespace tw::train {
namespace {

// A layer's second norm is norm_2.
std::string name_of(const Unit& unit, std::size_t index) {
  Unit plain = unit;
  plain.copy = 0, plain.table_only = false;
  const std::vector<Weight>& weights = unit.work->weights;
  const auto alike = 1 + std::count_if(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(index),
                                       [&](const Weight& w) { return w.name == weights[index].name; });
  return to_string(plain) + " " + std::string(weights[index].name) +
         (alike > 1 ? "_" + std::to_string(alike) : "");
}

std::uint64_t id_of(const Unit& unit, std::size_t index) {
  return (static_cast<std::uint64_t>(unit.kind) * 1000003 + static_cast<std::uint64_t>(unit.layer)) * 64 +
         index + 1;
}

// Who shares a row: all of the cut group where each rank saw only its own rows of the input, the holders
// of the same copy where heads are fewer than ranks; a weight that nobody cuts is whole on every rank.
void share(Run& run, const FlatWeight& flat, const RowBlock& block, const View& view) {
  const Weight& weight = *flat.weight;
  const Scope scope = weight.scope;
  const std::size_t ranks = view.cut_group(scope).size(), index = view.index_in(view.cut_group(scope));
  const auto copies = static_cast<std::size_t>(block.copies);
  const bool cut = block.cut || weight.local_columns < weight.columns;
  if (weight.sequence_partial) {
    run.sharers_first = 0, run.sharers = ranks, run.owned = index == 0;
  } else if (copies > 1) {
    run.sharers_first = index / copies * copies, run.sharers = copies, run.owned = index % copies == 0;
  } else {
    run.sharers_first = index, run.sharers = 1, run.owned = cut || index == 0;
  }
}

std::vector<Run> runs_of(const FlatWeight& flat, const View& view) {
  const WeightPart& part = flat.part;
  std::vector<Run> out;
  for (std::int64_t g = 0; g < part.group.count; ++g) {
    for (std::size_t b = 0; b < part.row.size(); ++b) {
      const Extent& block = part.row[b];
      for (std::int64_t r = 0; r < block.count; ++r) {
        Run run;
        run.local = flat.offset + (g * part.local_rows() + block.local + r) * part.column.room;
        run.global =
            ((part.group.first + g) * part.rows + block.first + r) * part.columns + part.column.first;
        run.count = part.column.count;
        share(run, flat, flat.weight->rows[b], view);
        out.push_back(run);
      }
    }
  }
  return out;
}

void place(FlatScope& scope, Scope which, const View& view) {
  const Program& program = view.program();
  scope.shards = program.shard_group(view.rank(), which);
  scope.replicas = program.replica_group(view.rank(), which);
  scope.cuts = program.cut_group(view.rank(), which);
  scope.counts = scope.replicas.front() == view.rank();
  const auto n = static_cast<std::int64_t>(scope.shards.size());
  scope.piece = (scope.elements + n - 1) / n;
  scope.padded = scope.piece * n;
  scope.first = static_cast<std::int64_t>(view.index_in(scope.shards)) * scope.piece;
  for (const FlatWeight& weight : scope.weights) {
    scope.runs.push_back(runs_of(weight, view));
    scope.shared |= std::any_of(scope.runs.back().begin(), scope.runs.back().end(),
                                [](const Run& run) { return run.sharers > 1; });
  }
}

}  // namespace

FlatUnit flatten(const View& view, const Unit& unit) {
  FlatUnit out;
  const std::vector<Weight>& weights = unit.work->weights;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto at = static_cast<std::size_t>(weights[i].scope);
    FlatScope& scope = out.scopes[at];
    FlatWeight flat{&weights[i], view.program().part(view.rank(), weights[i]), scope.elements,
                    name_of(unit, i), id_of(unit, i)};
    scope.elements += flat.part.local_elements();
    out.where.push_back({at, scope.weights.size()});
    scope.weights.push_back(std::move(flat));
  }
  for (const Scope which : {Scope::attention, Scope::expert})
    place(out.scopes[static_cast<std::size_t>(which)], which, view);
  return out;
}

void visit_piece(const FlatScope& scope, std::size_t weight, const VisitRun& visit) {
  for (const Run& run : scope.runs[weight]) {
    const std::int64_t begin = std::max(run.local, scope.first);
    const std::int64_t end = std::min(run.local + run.count, scope.first + scope.piece);
    if (begin < end) visit(run, begin - scope.first, run.global + begin - run.local, end - begin);
  }
}

bool begins_at_one(const FlatWeight& weight) {
  return weight.weight->name.ends_with("norm");
}

std::vector<NamedWeight> named_weights(const Program& program) {
  std::map<std::uint64_t, NamedWeight> found;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    for (const Unit& unit : program.units(stage)) {
      const std::vector<Weight>& weights = unit.work->weights;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        std::int64_t rows = 0;
        for (const RowBlock& block : weights[i].rows) rows += block.distinct;
        const std::uint64_t id = id_of(unit, i);
        found[id] = {name_of(unit, i), id, weights[i].groups * rows * weights[i].columns};
      }
    }
  }
  std::vector<NamedWeight> out;
  for (auto& [id, weight] : found) out.push_back(std::move(weight));
  return out;
}

}  // namespace tw::train
