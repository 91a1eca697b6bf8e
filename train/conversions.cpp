// Changes of placement: rows cut over a group, whole on each, or partial sums. Routed rows differ in
// number from rank to rank.
#include <algorithm>
#include <cmath>

#include "topology/check.hpp"
#include "train/operations.hpp"

namespace tw::train {
namespace {

template <class T>
std::vector<std::int64_t> in_bytes(const std::vector<std::int64_t>& rows, std::int64_t width) {
  std::vector<std::int64_t> out;
  for (const std::int64_t count : rows) out.push_back(count * width * static_cast<std::int64_t>(sizeof(T)));
  return out;
}

bool cuts_rows(Placement place) {
  return place.kind == Placement::Kind::cut && (place.axis == AxisName::seq || place.axis == AxisName::batch);
}

template <class X>
std::vector<X> gathered(Messages& messages, Group group, const std::vector<X>& piece,
                        const std::vector<std::int64_t>& counts) {
  std::int64_t sum = 0;
  for (const std::int64_t count : counts) sum += count;
  std::vector<X> whole(static_cast<std::size_t>(sum));
  messages.all_gather_v(group, piece.data(), in_bytes<X>(counts, 1), whole.data());
  return whole;
}

}  // namespace

template <class T>
void Operations<T>::convert(Call& call) {
  switch (call.io.conversion) {
    case Conversion::slice:
      return slice(call);
    case Conversion::all_gather:
      return gather_rows(call);
    case Conversion::all_reduce:
      call.writes[0] = std::make_shared<Tensor<T>>(*call.reads[0]);
      return sum_over(view_.group(call.io.group), call.writes[0]->data);
    case Conversion::reduce_scatter:
      return reduce_rows(call);
    default:
      TW_CHECK(false);
  }
}

template <class T>
void Operations<T>::slice(Call& call) {
  TW_CHECK(cuts_rows(call.io.to));
  const Group group = view_.group(call.io.group);
  const Tensor<T>& x = *call.reads[0];
  const std::int64_t rows = x.rows / static_cast<std::int64_t>(group.size());
  call.writes[0] = elements<T>(rows, x.width);
  const auto first = static_cast<std::int64_t>(view_.index_in(group)) * rows;
  std::copy_n(x.data.begin() + first * x.width, rows * x.width, call.writes[0]->data.begin());
}

// Rows of each member. Routed rows that come to the experts say how many they are; all later ones are
// as many.
template <class T>
std::vector<std::int64_t> Operations<T>::pieces(const Call& call, std::int64_t whole_rows) {
  const Group group = view_.group(call.io.group);
  if (call.value(call.io.reads[0]).routed) return routes(call).gathered;
  const auto n = static_cast<std::int64_t>(group.size());
  return std::vector<std::int64_t>(group.size(), whole_rows / n);
}

template <class T>
void Operations<T>::gather_rows(Call& call) {
  TW_CHECK(cuts_rows(call.io.from));
  const Group group = view_.group(call.io.group);
  const Tensor<T>& x = *call.reads[0];
  const Value& from = call.value(call.io.reads[0]);
  if (from.routed && !from.gradient) {
    Routes<T>& way = routes(call);
    way.gathered.resize(group.size());
    messages_.all_gather(group, &x.rows, sizeof x.rows, way.gathered.data());
    arrive(call, group);
  }
  const std::vector<std::int64_t> rows = pieces(call, x.rows * static_cast<std::int64_t>(group.size()));
  std::int64_t sum = 0;
  for (const std::int64_t count : rows) sum += count;
  call.writes[0] = elements<T>(sum, x.width);
  messages_.all_gather_v(group, x.data.data(), in_bytes<T>(rows, x.width), call.writes[0]->data.data());
}

// The segments and factors of all members, one after the other.
template <class T>
void Operations<T>::arrive(const Call& call, Group group) {
  Routes<T>& way = routes(call);
  const auto mine = static_cast<std::int64_t>(way.arrived.segments.size());
  std::vector<std::int64_t> counts(group.size());
  messages_.all_gather(group, &mine, sizeof mine, counts.data());
  way.here.segments = gathered(messages_, group, way.arrived.segments, counts);
  way.here.factors = gathered(messages_, group, way.arrived.factors, way.gathered);
  std::size_t at = 0;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < group.size(); ++i) {
    for (std::int64_t n = 0; n < counts[i]; ++n) way.here.segments[at++].first_row += first;
    first += way.gathered[i];
  }
}

template <class T>
void Operations<T>::sum_over(Group group, std::vector<T>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  if constexpr (std::is_same_v<T, Sum>) {
    messages_.all_reduce(group, values.data(), count);
  } else {
    std::vector<Sum> wide(values.size());
    std::transform(values.begin(), values.end(), wide.begin(), [](T v) { return static_cast<Sum>(v); });
    messages_.all_reduce(group, wide.data(), count);
    std::transform(wide.begin(), wide.end(), values.begin(), [](Sum v) { return static_cast<T>(v); });
  }
}

template <class T>
Handle<T> Operations<T>::scatter_sum(Group group, const Tensor<T>& whole,
                                     const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> counts;
  for (const std::int64_t count : rows) counts.push_back(count * whole.width);
  Handle<T> out = elements<T>(rows[view_.index_in(group)], whole.width);
  if constexpr (std::is_same_v<T, Sum>) {
    messages_.reduce_scatter(group, whole.data.data(), counts, out->data.data());
  } else {
    std::vector<Sum> wide(whole.data.size()), piece(out->data.size());
    std::transform(whole.data.begin(), whole.data.end(), wide.begin(),
                   [](T v) { return static_cast<Sum>(v); });
    messages_.reduce_scatter(group, wide.data(), counts, piece.data());
    std::transform(piece.begin(), piece.end(), out->data.begin(), [](Sum v) { return static_cast<T>(v); });
  }
  return out;
}

template <class T>
void Operations<T>::reduce_rows(Call& call) {
  TW_CHECK(cuts_rows(call.io.to));
  const Group group = view_.group(call.io.group);
  const Tensor<T>& x = *call.reads[0];
  const std::vector<std::int64_t> rows = pieces(call, x.rows);
  call.writes[0] = scatter_sum(group, x, rows);
  const Value& from = call.value(call.io.reads[0]);
  if (!from.routed || !from.gradient) return;
  Routes<T>& way = routes(call);
  std::vector<Sum> piece(static_cast<std::size_t>(call.writes[0]->rows));
  messages_.reduce_scatter(group, way.factor_gradients.data(), rows, piece.data());
  way.factor_gradients = std::move(piece);
}

template class Operations<double>;
template class Operations<float>;
template class Operations<bf16>;

}  // namespace tw::train
