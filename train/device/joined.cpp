// Two operations of a Program that are one kernel.
#include <algorithm>

#include "topology/check.hpp"
#include "train/device/operations.hpp"

namespace tw::train {
namespace {

// Of the value by all operations of the layer.
std::ptrdiff_t readers(const LayerWork& work, std::int16_t value) {
  std::ptrdiff_t count = 0;
  for (const OperandList* list : {&work.operands.forward, &work.operands.backward}) {
    for (const Operands& io : *list) count += std::count(io.reads.begin(), io.reads.end(), value);
  }
  return count;
}

// Norms of heads and their rotary positions, in the order of either direction.
bool is_norm_and_rope(const DeviceCall& call, const Operands& next) {
  const Operator first = call.backward() ? Operator::rotate : Operator::head_norm,
                 second = call.backward() ? Operator::head_norm : Operator::rotate;
  return call.io.what == first && next.what == second && next.reads[0] == call.io.writes[0] &&
         readers(call.work, call.io.writes[0]) == 1;
}

// Of experts, where the kernel takes the width.
bool is_linear_and_activation(const DeviceCall& call, const Operands& next) {
  if (call.io.what != Operator::linear || call.backward() || next.what != Operator::activation) return false;
  const Value& out = call.value(call.io.writes[0]);
  return next.reads[0] == call.io.writes[0] && out.routed && out.width % (2 * gpu::GroupedSwiglu::kStep) == 0;
}

bool is_one_kernel(const DeviceCall& call) {
  if (call.next == nullptr) return false;
  const Operands& next = *call.next;
  if (is_norm_and_rope(call, next) || is_linear_and_activation(call, next)) return true;
  if (call.io.what == Operator::add)
    return next.what == Operator::norm && next.half == Half::forward && next.reads[0] == call.io.writes[0];
  return call.io.what == Operator::norm && call.backward() && next.what == Operator::sum &&
         std::count(next.reads.begin(), next.reads.end(), call.io.writes[0]) == 1 &&
         readers(call.work, call.io.writes[0]) == 1;
}

}  // namespace

void DeviceOperations::run(DeviceCall& call) {
  if (joins(call)) return join(call);
  settle();
  if (!is_one_kernel(call)) return run_now(call);
  const DeviceHandle& like = call.reads[0];
  const bool in_place = call.io.what == Operator::rotate && call.last_reader;
  call.writes[0] = in_place ? like : tensor(like->rows, call.value(call.io.writes[0]).width);
  put_off_.emplace(call);
}

void DeviceOperations::settle() {
  if (!put_off_) return;
  DeviceCall call = std::move(*put_off_);
  put_off_.reset();
  run_now(call);
}

void DeviceOperations::join(DeviceCall& call) {
  const Operator first = put_off_->io.what;
  if (first == Operator::head_norm || first == Operator::rotate)
    norm_and_rope(call);
  else if (first == Operator::linear)
    experts_and_activation(call);
  else
    first == Operator::add ? add_and_norm(call) : norm_backward_and_sum(call);
  put_off_.reset();
}

void DeviceOperations::norm_and_rope(DeviceCall& call) {
  const HeadShape& heads = call.io.heads;
  const DeviceHandle& out = put_off_->writes[0];
  const gpu::NormRopeSize size{out->rows,      heads.heads, heads.kv_heads,
                               heads.head_dim, length_,     static_cast<float>(settings_.norm_epsilon)};
  TW_CHECK(out->rows == rows_);
  const void* in = read(put_off_->reads[0]);
  if (!call.backward()) {
    gpu::norm_rope_forward(size, in, parameter(*put_off_).value, {cosines_.floats(), sines_.floats()},
                           out->data(), compute());
  } else {
    const void* x = read(call.reads[1]);
    const Parameter w = parameter(call);
    out->block.own(gpu_.lanes);
    gpu::norm_rope_backward(size, {x, w.value, in, out->data(), w.gradient.added()},
                            {cosines_.floats(), back_sines_.floats()}, compute());
  }
  call.writes[0] = out;
}

void DeviceOperations::add_and_norm(DeviceCall& call) {
  const std::vector<DeviceHandle>& terms = put_off_->reads;
  const DeviceHandle& sum = put_off_->writes[0];
  const gpu::NormSize size{sum->rows, sum->width, static_cast<float>(settings_.norm_epsilon)};
  const void *a = read(terms[0]), *b = read(terms[1]);
  const Parameter w = parameter(call);
  call.writes[0] = tensor(sum->rows, sum->width);
  gpu::add_norm_forward(size, {a, b, w.value, sum->data(), call.writes[0]->data()}, compute());
}

void DeviceOperations::norm_backward_and_sum(DeviceCall& call) {
  const DeviceHandle &dy = put_off_->reads[0], &x = put_off_->reads[1];
  const DeviceHandle& other = call.reads[call.reads[0] == put_off_->writes[0] ? 1 : 0];
  const gpu::NormSize size{x->rows, x->width, static_cast<float>(settings_.norm_epsilon)};
  const void *upstream = read(dy), *in = read(x), *also = read(other);
  const Parameter w = parameter(*put_off_);
  call.writes[0] = tensor(x->rows, x->width);
  gpu::rms_norm_backward(size, {in, w.value, upstream, call.writes[0]->data(), w.gradient.added(), also},
                         compute());
}

}  // namespace tw::train
