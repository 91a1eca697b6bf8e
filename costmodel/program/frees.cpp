// When a value of a layer dies: after the last operation that reads it.
#include <algorithm>

#include "costmodel/program/program.hpp"

namespace tw {
namespace {

struct Place {
  const OperandList* list;
  std::size_t op;
  std::vector<std::vector<std::int16_t>>* frees;
};

std::vector<Place> all_of(const OperandList& list, std::vector<std::vector<std::int16_t>>& frees) {
  frees.assign(list.size(), {});
  std::vector<Place> out;
  for (std::size_t i = 0; i < list.size(); ++i) out.push_back({&list, i, &frees});
  return out;
}

void append(std::vector<Place>& to, const std::vector<Place>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// What the unit hands on. The loss, which its own backward reads, stays.
bool handed_on(std::int16_t value, const LayerOperands& layer) {
  if (value < 0) return false;
  return std::none_of(layer.backward.begin(), layer.backward.end(), [&](const Operands& op) {
    return std::find(op.reads.begin(), op.reads.end(), value) != op.reads.end();
  });
}

// Walks one order of execution backward: the first reader met is the last one to run. What nobody
// reads dies with its maker, except what the unit hands on.
void mark(const std::vector<Place>& order, const LayerOperands& layer) {
  std::vector<bool> dead(layer.values.size());
  for (const std::int16_t kept : {layer.output, layer.input_gradient}) {
    if (handed_on(kept, layer)) dead[static_cast<std::size_t>(kept)] = true;
  }
  for (std::size_t i = order.size(); i-- > 0;) {
    const Operands& op = (*order[i].list)[order[i].op];
    const auto visit = [&](std::int16_t value) {
      if (value < 0 || dead[static_cast<std::size_t>(value)]) return;
      dead[static_cast<std::size_t>(value)] = true;
      (*order[i].frees)[order[i].op].push_back(value);
    };
    for (const std::int16_t value : op.reads) visit(value);
    for (const std::int16_t value : op.writes) visit(value);
  }
}

}  // namespace

// Three orders: the forward with the whole backward; the same with the weight halves at its end. What a
// forward op frees is the same in both.
Frees frees_of(const LayerWork& work) {
  Frees out;
  const LayerOperands& layer = work.operands;
  std::vector<Place> whole = all_of(layer.forward, out.forward);
  append(whole, all_of(layer.backward, out.backward));
  mark(whole, layer);
  std::vector<std::vector<std::int16_t>> unused;
  std::vector<Place> split = all_of(layer.forward, unused);
  out.input.assign(layer.backward.size(), {});
  out.weight.assign(layer.backward.size(), {});
  for (const bool weights : {false, true}) {
    for (std::size_t i = 0; i < layer.backward.size(); ++i) {
      if (work.backward[i].weight_half == weights)
        split.push_back({&layer.backward, i, weights ? &out.weight : &out.input});
    }
  }
  mark(split, layer);
  return out;
}

}  // namespace tw
