// Routed layers: the choice of experts, and the way of the rows to them and back.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "topology/check.hpp"
#include "train/operations.hpp"

namespace tw::train {
namespace {

std::int64_t sum_of(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

template <class T>
void store(const std::vector<cpu::Acc<T>>& from, std::vector<T>& to) {
  std::transform(from.begin(), from.end(), to.begin(), [](cpu::Acc<T> v) { return static_cast<T>(v); });
}

}  // namespace

template <class T>
cpu::RouterShape Operations<T>::router_shape(const Call&, std::int64_t rows) const {
  const Moe& moe = *view_.model().moe();
  return {rows, moe.experts, moe.top_k, settings_.renormalise};
}

template <class T>
cpu::LoadBalance<typename Operations<T>::Sum> Operations<T>::load_balance(const Tensor<T>& counts,
                                                                          std::int64_t rows) const {
  return {counts.sums.data(), view_.sequences(rows).data(), view_.seq(),
          settings_.balance / static_cast<double>(view_.global_batch())};
}

template <class T>
void Operations<T>::choose(Call& call) {
  if (!call.backward()) {
    const Tensor<T>& logits = *call.reads[0];
    const cpu::RouterShape shape = router_shape(call, logits.rows);
    call.writes[0] = sums<T>(logits.rows, shape.experts);
    Tensor<T>& choice = *call.writes[0];
    const auto chosen = static_cast<std::size_t>(shape.rows * shape.top_k);
    choice.experts.resize(chosen), choice.weights.resize(chosen);
    cpu::Router<T>::forward(shape, logits.data.data(),
                            {choice.sums.data(), choice.experts.data(), choice.weights.data()});
    return;
  }
  const Tensor<T>&gradient = *call.reads[0], &choice = *call.reads[1], &counts = *call.reads[2];
  const cpu::RouterShape shape = router_shape(call, choice.rows);
  call.writes[0] = elements<T>(choice.rows, shape.experts);
  cpu::Router<T>::backward(shape, {choice.sums.data(), choice.experts.data(), choice.weights.data()},
                           gradient.sums.data(), load_balance(counts, choice.rows),
                           call.writes[0]->data.data());
}

// Shares of the routes of each sequence, from counts over all ranks that have some of its tokens.
template <class T>
void Operations<T>::balance(Call& call) {
  const Tensor<T>& choice = *call.reads[0];
  const cpu::RouterShape shape = router_shape(call, choice.rows);
  const std::span<const std::int32_t> of = view_.sequences(choice.rows);
  const std::int64_t sequences = own_tags_.sequences.back() + 1;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(sequences * shape.experts));
  cpu::Router<T>::count_routes(shape, choice.experts.data(), of.data(), counts.data());
  std::vector<double> all(counts.begin(), counts.end());
  messages_.all_reduce(view_.group(call.io.group), all.data(), static_cast<std::int64_t>(all.size()));
  if (settings_.balance_pooled) cpu::Router<T>::pool(shape, all);
  call.writes[0] = sums<T>(sequences, shape.experts);
  const double routes = static_cast<double>(view_.seq() * shape.top_k);
  std::transform(all.begin(), all.end(), call.writes[0]->sums.begin(),
                 [&](double count) { return static_cast<Sum>(count / routes); });
  if (settings_.balance == 0) return;
  std::vector<Sum> parts(static_cast<std::size_t>(sequences), Sum(0));
  cpu::Router<T>::auxiliary_loss(shape, choice.sums.data(), load_balance(*call.writes[0], choice.rows),
                                 parts.data());
  for (const Sum part : parts) losses.balance += static_cast<double>(part);
}

template <class T>
void Operations<T>::permute(Call& call) {
  if (!call.backward()) return permute_forward(call);
  const Routes<T>& way = routes(call);
  const Tensor<T>& gradient = *call.reads[0];
  const auto rows = std::llround(call.value(call.io.writes[0]).rows);
  call.writes[0] = elements<T>(rows, gradient.width);
  std::vector<Sum> total(call.writes[0]->data.size(), Sum(0));
  cpu::scatter_add_rows<T, Sum>(gradient.width, way.token, gradient.data.data(), total.data());
  store(total, call.writes[0]->data);
  call.writes[1] = sums<T>(rows, view_.model().moe()->top_k);
  for (std::size_t i = 0; i < way.slot.size(); ++i)
    call.writes[1]->sums[static_cast<std::size_t>(way.slot[i])] = way.factor_gradients[i];
}

// Routes by expert, and by token within one.
template <class T>
void Operations<T>::permute_forward(Call& call) {
  const Tensor<T>&tokens = *call.reads[0], &choice = *call.reads[1];
  const cpu::RouterShape shape = router_shape(call, tokens.rows);
  Routes<T>& way = routes(call);
  way = {};
  for (std::int64_t expert = 0; expert < shape.experts; ++expert) {
    const auto first = static_cast<std::int64_t>(way.slot.size());
    for (std::int64_t slot = 0; slot < shape.rows * shape.top_k; ++slot) {
      if (choice.experts[static_cast<std::size_t>(slot)] != expert) continue;
      way.slot.push_back(slot), way.token.push_back(slot / shape.top_k);
      way.here.factors.push_back(choice.weights[static_cast<std::size_t>(slot)]);
    }
    way.here.segments.push_back({expert, first, static_cast<std::int64_t>(way.slot.size()) - first});
  }
  way.arrived = way.here;
  call.writes[0] = elements<T>(way.here.rows(), tokens.width);
  cpu::gather_rows<T>(tokens.width, way.token, tokens.data.data(), call.writes[0]->data.data());
}

// To the ranks of the experts: rows of one source lie together, by expert. The counts go first.
template <class T>
void Operations<T>::dispatch(Call& call, bool to_experts) {
  const Group group = view_.group(call.io.group);
  const auto n = static_cast<std::int64_t>(group.size());
  Routes<T>& way = routes(call);
  const Tensor<T>& x = *call.reads[0];
  const bool opens = call.io.what == Operator::dispatch && !call.backward();
  const std::vector<cpu::Segment> before = way.here.segments;
  const std::int64_t experts = view_.model().moe()->experts, local = experts / n;
  std::vector<std::int64_t> out_counts, in_counts(static_cast<std::size_t>(experts));
  if (opens) {
    for (const cpu::Segment& segment : before) out_counts.push_back(segment.rows);
    const std::vector<std::int64_t> bytes(group.size(), local * 8);
    messages_.all_to_all_v(group, out_counts.data(), bytes, in_counts.data(), bytes);
    way.sent.assign(group.size(), 0), way.received.assign(group.size(), 0);
    for (std::int64_t e = 0; e < experts; ++e) {
      way.sent[static_cast<std::size_t>(e / local)] += out_counts[static_cast<std::size_t>(e)];
      way.received[static_cast<std::size_t>(e / local)] += in_counts[static_cast<std::size_t>(e)];
    }
  }
  const std::vector<std::int64_t>&out = to_experts ? way.sent : way.received,
        &in = to_experts ? way.received : way.sent;
  const auto move = [&](const auto* from, auto* to, std::int64_t width) {
    const auto bytes = [&](std::vector<std::int64_t> rows) {
      for (std::int64_t& count : rows) count *= width * static_cast<std::int64_t>(sizeof *to);
      return rows;
    };
    messages_.all_to_all_v(group, from, bytes(out), to, bytes(in));
  };
  call.writes[0] = elements<T>(sum_of(in), x.width);
  move(x.data.data(), call.writes[0]->data.data(), x.width);
  if (call.io.what != Operator::dispatch) return;
  std::vector<Sum>& values = opens ? way.here.factors : way.factor_gradients;
  std::vector<Sum> moved(static_cast<std::size_t>(sum_of(in)));
  move(values.data(), moved.data(), 1);
  values = std::move(moved);
  if (!opens) return;
  way.here.segments.clear();
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < experts; ++i) {
    const std::int64_t count = in_counts[static_cast<std::size_t>(i)];
    way.here.segments.push_back({i % local, first, count});
    first += count;
  }
  way.arrived = way.here;
}

// By expert, and in the order of arrival within one.
template <class T>
void Operations<T>::sort(Call& call, bool to_experts) {
  Routes<T>& way = routes(call);
  const Tensor<T>& x = *call.reads[0];
  const bool opens = call.io.what == Operator::sort && !call.backward();
  if (opens) {
    std::vector<cpu::Segment> segments = way.here.segments;
    std::stable_sort(segments.begin(), segments.end(),
                     [](const cpu::Segment& a, const cpu::Segment& b) { return a.group < b.group; });
    way.order.clear();
    for (cpu::Segment& segment : segments) {
      const auto first = static_cast<std::int64_t>(way.order.size());
      for (std::int64_t i = 0; i < segment.rows; ++i) way.order.push_back(segment.first_row + i);
      segment.first_row = first;
    }
    way.here.segments = std::move(segments);
    std::vector<Sum> factors(way.order.size());
    cpu::gather_rows<Sum>(1, way.order, way.here.factors.data(), factors.data());
    way.here.factors = std::move(factors);
  }
  call.writes[0] = elements<T>(x.rows, x.width);
  T* y = call.writes[0]->data.data();
  if (to_experts) return cpu::gather_rows<T>(x.width, way.order, x.data.data(), y);
  for (std::size_t i = 0; i < way.order.size(); ++i)
    std::copy_n(x.data.data() + static_cast<std::int64_t>(i) * x.width, x.width, y + way.order[i] * x.width);
  if (call.io.what != Operator::sort) return;
  std::vector<Sum> gradients(way.factor_gradients.size());
  for (std::size_t i = 0; i < way.order.size(); ++i)
    gradients[static_cast<std::size_t>(way.order[i])] = way.factor_gradients[i];
  way.factor_gradients = std::move(gradients);
}

template <class T>
void Operations<T>::unpermute(Call& call) {
  const Routes<T>& way = routes(call);
  const Tensor<T>& x = *call.reads[0];
  if (call.backward()) {
    call.writes[0] = elements<T>(static_cast<std::int64_t>(way.token.size()), x.width);
    cpu::gather_rows<T>(x.width, way.token, x.data.data(), call.writes[0]->data.data());
    return;
  }
  call.writes[0] = elements<T>(std::llround(call.value(call.io.writes[0]).rows), x.width);
  std::vector<Sum> total(call.writes[0]->data.size(), Sum(0));
  cpu::scatter_add_rows<T, Sum>(x.width, way.token, x.data.data(), total.data());
  store(total, call.writes[0]->data);
}

template class Operations<double>;
template class Operations<float>;
template class Operations<bf16>;

}  // namespace tw::train
