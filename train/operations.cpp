#include "train/operations.hpp"

#include <algorithm>

#include "costmodel/program/view.hpp"
#include "topology/check.hpp"

namespace tw::train {

template <class T>
Operations<T>::Operations(const View& view, Messages& messages, const Settings& settings, const Data& data)
    : view_(view), messages_(messages), settings_(settings), data_(data) {
  for (const Unit& unit : view.units()) states_.emplace_back(view, unit, settings);
  own_tags_ = view.tags_of(view.rank());
}

template <class T>
std::int64_t Operations<T>::state_bytes() const {
  std::int64_t sum = 0;
  for (const UnitState<T>& state : states_) sum += state.bytes();
  return sum;
}

template <class T>
typename Operations<T>::Parameter Operations<T>::parameter(const Call& call) {
  return parameter_of<Parameter>(*this, weight_use(view_, call.io, call.unit));
}

template <class T>
void Operations<T>::norm(Call& call) {
  const Tensor<T>& x = *call.reads[call.backward() ? 1 : 0];
  const cpu::NormShape shape{x.rows, 1, x.width, settings_.norm_epsilon};
  const Parameter w = parameter(call);
  call.writes[0] = elements<T>(x.rows, x.width);
  if (!call.backward()) return cpu::RmsNorm<T>::forward(shape, x.view(), w.value, call.writes[0]->view());
  const Tensor<T>& dy = *call.reads[0];
  cpu::RmsNorm<T>::backward(shape, x.view(), w.value, dy.view(), {call.writes[0]->view(), w.gradient});
}

// Queries with the first row of the weight, keys with the second; values pass.
template <class T>
void Operations<T>::head_norm(Call& call) {
  const Tensor<T>& x = *call.reads[call.backward() ? 1 : 0];
  const HeadShape& heads = call.io.heads;
  const Parameter w = parameter(call);
  call.writes[0] = std::make_shared<Tensor<T>>(*call.reads[0]);
  Tensor<T>& out = *call.writes[0];
  const Tensor<T>& dy = *call.reads[0];
  std::int64_t column = 0, row = 0;
  for (const std::int64_t count : {heads.heads, heads.kv_heads}) {
    const cpu::NormShape shape{x.rows, count, heads.head_dim, settings_.norm_epsilon};
    const T* weight = w.value + row * heads.head_dim;
    if (call.backward())
      cpu::RmsNorm<T>::backward(shape, x.view(column), weight, dy.view(column),
                                {out.view(column), w.gradient + row * heads.head_dim});
    else
      cpu::RmsNorm<T>::forward(shape, x.view(column), weight, out.view(column));
    column += count * heads.head_dim, ++row;
  }
}

template <class T>
void Operations<T>::rotate(Call& call) {
  call.writes[0] = std::make_shared<Tensor<T>>(*call.reads[0]);
  Tensor<T>& x = *call.writes[0];
  const HeadShape& heads = call.io.heads;
  const cpu::RopeShape shape{x.rows, heads.heads + heads.kv_heads, heads.head_dim, settings_.rotary_base};
  const std::int32_t* positions = view_.positions(x.rows).data();
  if (call.backward()) return cpu::Rope<T>::backward(shape, positions, x.view());
  cpu::Rope<T>::forward(shape, positions, x.view());
}

template <class T>
void Operations<T>::linear(Call& call) {
  const Parameter w = parameter(call);
  const Tensor<T>& x = *call.reads[0];
  const std::int64_t out = w.flat->part.local_rows(), in = w.flat->part.column.room;
  const bool grouped = w.flat->weight->scope == Scope::expert;
  const cpu::LinearSize size{x.rows, in, out};
  const std::vector<cpu::Segment> none;
  const cpu::GroupedSize sizes{in, out, grouped ? routes(call).here.segments : none};
  if (call.io.half == Half::weight_gradient) {
    const Tensor<T>& kept = *call.reads[1];
    if (grouped) return cpu::GroupedLinear<T>::wgrad(sizes, x.data.data(), kept.data.data(), w.gradient);
    return cpu::Linear<T>::wgrad(size, x.data.data(), kept.data.data(), w.gradient);
  }
  const bool forward = call.io.half == Half::forward;
  TW_CHECK(x.width == (forward ? in : out));
  call.writes[0] = elements<T>(x.rows, forward ? out : in);
  T* y = call.writes[0]->data.data();
  if (grouped && forward) return cpu::GroupedLinear<T>::forward(sizes, x.data.data(), w.value, y);
  if (grouped) return cpu::GroupedLinear<T>::dgrad(sizes, x.data.data(), w.value, y);
  if (forward) return cpu::Linear<T>::forward(size, x.data.data(), w.value, y);
  cpu::Linear<T>::dgrad(size, x.data.data(), w.value, y);
}

template <class T>
void Operations<T>::activation(Call& call) {
  const Tensor<T>& x = *call.reads[call.backward() ? 1 : 0];
  const bool routed = call.value(call.io.writes[0]).routed;
  const Sum* factor = routed ? routes(call).here.factors.data() : nullptr;
  const cpu::SwigluShape shape{x.rows, x.width / 2};
  call.writes[0] = elements<T>(x.rows, call.backward() ? x.width : x.width / 2);
  T* y = call.writes[0]->data.data();
  if (!call.backward()) return cpu::Swiglu<T>::forward(shape, x.data.data(), factor, y);
  std::vector<Sum> none;
  std::vector<Sum>& gradients = routed ? routes(call).factor_gradients : none;
  gradients.assign(static_cast<std::size_t>(x.rows), Sum(0));
  cpu::Swiglu<T>::backward(shape, x.data.data(), factor, call.reads[0]->data.data(), {y, gradients.data()});
}

template <class T>
void Operations<T>::add(Call& call) {
  const Tensor<T>&a = *call.reads[0], &b = *call.reads[1];
  TW_CHECK(a.size() == b.size());
  call.writes[0] = elements<T>(a.rows, a.width);
  cpu::Vectors<T>::add(a.size(), a.data.data(), b.data.data(), call.writes[0]->data.data());
}

template <class T>
void Operations<T>::embed(Call& call) {
  const Parameter w = parameter(call);
  const std::vector<std::int32_t> ids = tokens(call, 0);
  const Extent& rows = w.flat->part.row[0];
  const cpu::EmbeddingShape shape{static_cast<std::int64_t>(ids.size()), w.flat->part.columns, rows.first,
                                  rows.count};
  if (call.backward())
    return cpu::Embedding<T>::backward(shape, ids.data(), call.reads[0]->data.data(), w.gradient);
  call.writes[0] = elements<T>(shape.rows, shape.width);
  cpu::Embedding<T>::forward(shape, ids.data(), w.value, call.writes[0]->data.data());
}

namespace {

template <class A>
cpu::SoftmaxPart<A>* parts_in(std::vector<A>& sums) {
  static_assert(sizeof(cpu::SoftmaxPart<A>) == 3 * sizeof(A));
  return reinterpret_cast<cpu::SoftmaxPart<A>*>(sums.data());
}

}  // namespace

template <class T>
void Operations<T>::score(Call& call) {
  Tensor<T>& logits = *call.reads[0];
  const WeightUse table = head_table(view_, call.work, call.unit);
  const std::int64_t first = state(table.unit).flat().weight(table.index).part.row[0].first;
  const cpu::VocabularyRange range{logits.rows, first, logits.width, view_.model().vocab};
  const std::vector<std::int32_t> targets = tokens(call, 1);
  if (!call.backward()) {
    call.writes[0] = sums<T>(logits.rows, 3);
    cpu::CrossEntropy<T>::forward(range, logits.data.data(), targets.data(), parts_in(call.writes[0]->sums));
    if (call.io.writes[0] == call.work.operands.output) finish_loss(call, *call.writes[0]);
    return;
  }
  const double scale = 1.0 / static_cast<double>(view_.global_batch() * view_.seq());
  call.writes[0] = std::move(call.reads[0]);  // written over
  cpu::CrossEntropy<T>::backward(range, {logits.data.data(), targets.data(), parts_in(call.reads[1]->sums)},
                                 scale, logits.data.data());
}

template <class T>
void Operations<T>::merge_scores(Call& call) {
  const Group group = view_.group(call.io.group);
  const Tensor<T>& mine = *call.reads[0];
  std::vector<Sum> all(mine.sums.size() * group.size());
  messages_.all_gather(group, mine.sums.data(), static_cast<std::int64_t>(mine.sums.size() * sizeof(Sum)),
                       all.data());
  call.writes[0] = sums<T>(mine.rows, 3);
  std::copy_n(all.begin(), mine.sums.size(), call.writes[0]->sums.begin());
  for (std::size_t i = 1; i < group.size(); ++i)
    cpu::CrossEntropy<T>::merge(mine.rows, parts_in(all) + static_cast<std::int64_t>(i) * mine.rows,
                                parts_in(call.writes[0]->sums));
  finish_loss(call, *call.writes[0]);
}

// Every rank of a cut group has the same rows: one of them counts.
template <class T>
void Operations<T>::finish_loss(const Call&, const Tensor<T>& parts) {
  if (view_.cut_index() != 0) return;
  std::vector<Sum> rows(static_cast<std::size_t>(parts.rows)), copy = parts.sums;
  cpu::CrossEntropy<T>::loss(parts.rows, parts_in(copy), rows.data());
  double sum = 0;
  for (const Sum row : rows) sum += static_cast<double>(row);
  losses.tokens += sum / static_cast<double>(view_.global_batch() * view_.seq());
}

template class Operations<double>;
template class Operations<float>;
template class Operations<bf16>;

}  // namespace tw::train
