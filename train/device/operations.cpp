#include "train/device/operations.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "costmodel/program/view.hpp"
#include "topology/check.hpp"

namespace tw::train {
namespace {

std::int64_t token_bytes(const View& view) {
  const auto rows = static_cast<std::int64_t>(view.program().tags(view.rank()).size());
  return 2 * rows * view.program().microbatches() * 4;
}

}  // namespace

DeviceOperations::DeviceOperations(const View& view, Context& gpu, const Settings& settings, const Data& data)
    : view_(view), gpu_(gpu), settings_(settings), data_(data), host_tokens_(token_bytes(view)) {
  states_.reserve(view.units().size());
  for (const Unit& unit : view.units()) states_.emplace_back(view, unit, settings, gpu);
  const View::Tags tags = view.tags_of(view.rank());
  rows_ = static_cast<std::int64_t>(tags.positions.size());
  sequences_count_ = tags.sequences.back() + 1;
  length_ = rows_ / sequences_count_;
  tokens_ = gpu_.memory.take(token_bytes(view));
  sums_ = gpu_.memory.take(3 * sizeof(double));
  sequences_ = gpu_.holding(tags.sequences);
  const Attention& heads = view.model().kinds.front().attention;
  const auto half = static_cast<std::size_t>(heads.head_dim / 2);
  std::vector<float> cosines, sines;
  for (std::size_t row = 0; row < static_cast<std::size_t>(length_); ++row) {
    for (std::size_t i = 0; i < half; ++i) {
      const double angle =
          tags.positions[row] *
          std::pow(settings.rotary_base, -static_cast<double>(i) / static_cast<double>(half));
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  cosines_ = gpu_.holding(cosines), sines_ = gpu_.holding(sines);
  std::transform(sines.begin(), sines.end(), sines.begin(), std::negate<>());
  back_sines_ = gpu_.holding(sines);
}

std::int64_t DeviceOperations::state_bytes() const {
  std::int64_t sum = 0;
  for (const DeviceUnit& state : states_) sum += state.bytes();
  return sum;
}

void DeviceOperations::fetch_tokens() {
  fetched_.clear();
  for (const std::int32_t ahead : {0, 1}) {
    for (std::int64_t m = 0; m < view_.program().microbatches(); ++m) {
      const auto each = view_.tokens(data_, step, static_cast<std::int32_t>(m), ahead);
      fetched_.insert(fetched_.end(), each.begin(), each.end());
    }
  }
}

void DeviceOperations::send_tokens() {
  std::memcpy(host_tokens_.data(), fetched_.data(), fetched_.size() * 4);
  gpu::to_device(host_tokens_.data(), tokens_.data(), tokens_.bytes(), compute());
}

const std::int32_t* DeviceOperations::tokens(const DeviceCall& call, bool targets) const {
  return tokens_.ints() + ((targets ? view_.program().microbatches() : 0) + call.microbatch) * rows_;
}

const std::int32_t* DeviceOperations::sequences(std::int64_t rows) const {
  return sequences_.ints() + (rows == rows_ ? 0 : static_cast<std::int64_t>(view_.cut_index()) * rows);
}

DeviceHandle DeviceOperations::tensor(std::int64_t rows, std::int64_t width, gpu::Number number) {
  auto out = std::make_shared<DeviceTensor>();
  out->rows = rows, out->width = width, out->number = number;
  out->block = gpu_.memory.take(rows * width * gpu::size_of(number));
  return out;
}

void* DeviceOperations::read(const DeviceHandle& value) {
  gpu_.lanes.await(value->ready);
  return value->data();
}

DeviceHandle DeviceOperations::changeable(DeviceCall& call) {
  const DeviceHandle& x = call.reads[0];
  const void* from = read(x);
  if (call.writes[0] && call.writes[0] != x) {  // there where it was put off
    gpu::on_device(from, call.writes[0]->data(), x->bytes(), compute());
    return call.writes[0];
  }
  if (call.last_reader) {
    x->block.own(gpu_.lanes);
    return x;
  }
  DeviceHandle out = tensor(x->rows, x->width, x->number);
  gpu::on_device(from, out->data(), x->bytes(), compute());
  return out;
}

Ticket DeviceOperations::on_network(std::initializer_list<Block*> blocks,
                                    const std::function<void(gpu::Stream)>& work) {
  work(gpu_.lanes.begin(Lanes::kNetwork));
  const Ticket ticket = gpu_.lanes.end(Lanes::kNetwork);
  for (Block* block : blocks) block->used(ticket);
  return ticket;
}

DeviceOperations::Parameter DeviceOperations::parameter(const DeviceCall& call) {
  return parameter_of<Parameter>(*this, weight_use(view_, call.io, call.unit));
}

void DeviceOperations::norm(DeviceCall& call) {
  const DeviceHandle& x = call.reads[call.backward() ? 1 : 0];
  const gpu::NormSize size{x->rows, x->width, static_cast<float>(settings_.norm_epsilon)};
  const Parameter w = parameter(call);
  const void* in = read(x);
  if (!call.backward()) {
    call.writes[0] = tensor(x->rows, x->width);
    return gpu::rms_norm_forward(size, in, w.value, call.writes[0]->data(), compute());
  }
  const void* dy = read(call.reads[0]);
  if (!call.writes[0]) call.writes[0] = tensor(x->rows, x->width);  // there where it was put off
  gpu::rms_norm_backward(size, {in, w.value, dy, call.writes[0]->data(), w.gradient.added()}, compute());
}

// Queries with the first row of the weight, keys with the second; values pass.
void DeviceOperations::head_norm(DeviceCall& call) {
  const HeadShape& heads = call.io.heads;
  const Parameter w = parameter(call);
  const void* x = call.backward() ? read(call.reads[1]) : nullptr;
  float* gradient = call.backward() ? w.gradient.added() : nullptr;
  call.writes[0] = changeable(call);
  const DeviceTensor& out = *call.writes[0];
  std::int64_t column = 0, row = 0;
  for (const std::int64_t count : {heads.heads, heads.kv_heads}) {
    const gpu::HeadNormSize size{out.rows,  count,  heads.head_dim,
                                 out.width, column, static_cast<float>(settings_.norm_epsilon)};
    const char* weight = static_cast<const char*>(w.value) + row * heads.head_dim * 2;
    if (call.backward())
      gpu::head_norm_backward(size, {x, weight, out.data(), gradient + row * heads.head_dim}, compute());
    else
      gpu::head_norm_forward(size, weight, out.data(), compute());
    column += count * heads.head_dim, ++row;
  }
}

void DeviceOperations::rotate(DeviceCall& call) {
  call.writes[0] = changeable(call);
  const DeviceTensor& x = *call.writes[0];
  const HeadShape& heads = call.io.heads;
  TW_CHECK(x.rows == rows_);
  gpu::rope({x.rows, heads.heads + heads.kv_heads, heads.head_dim, x.width, length_}, cosines_.floats(),
            call.backward() ? back_sines_.floats() : sines_.floats(), x.data(), compute());
}

void DeviceOperations::linear(DeviceCall& call) {
  const Parameter w = parameter(call);
  if (w.flat->weight->scope == Scope::expert) return linear_of_experts(call, w);
  if (!call.backward() && by_chunks(call, call.io.writes[0])) return open_head(call, w);
  if (call.backward() && by_chunks(call, call.io.reads[0]))
    return call.io.half == Half::weight_gradient ? end_head(call) : head_backward(call, w);
  const DeviceHandle& x = call.reads[0];
  const std::int64_t out = w.flat->part.local_rows(), in = w.flat->part.column.room;
  gpu::GemmCall product{gpu::Product::forward, x->rows, out, in};
  const void* left = read(x);
  if (call.io.half == Half::weight_gradient) {
    const void* kept = read(call.reads[1]);
    const auto [sum, into] = w.gradient.next();
    product.product = gpu::Product::wgrad, product.into = into;
    return gpu_.gemm(product).run({left, kept, sum});
  }
  const bool forward = call.io.half == Half::forward;
  TW_CHECK(x->width == (forward ? in : out));
  if (!forward) product.product = gpu::Product::dgrad;
  call.writes[0] = tensor(x->rows, forward ? out : in);
  gpu_.gemm(product).run({left, w.value, call.writes[0]->data()});
}

void DeviceOperations::activation(DeviceCall& call) {
  const DeviceHandle& x = call.reads[call.backward() ? 1 : 0];
  const bool routed = call.value(call.io.writes[0]).routed;
  const std::int64_t width = x->width / 2;
  const void* in = read(x);
  const void* d = call.backward() ? read(call.reads[0]) : nullptr;
  call.writes[0] = tensor(x->rows, call.backward() ? x->width : width);
  void* y = call.writes[0]->data();
  if (!routed) {
    if (call.backward()) return gpu::swiglu_backward({x->rows, width}, in, d, y, compute());
    return gpu::swiglu_forward({x->rows, width}, in, y, compute());
  }
  DeviceRoutes& way = routes(call);
  gpu_.lanes.await(way.ready);
  if (!call.backward())
    return gpu::routed_swiglu_forward({x->rows, width}, in, way.factors.floats(), y, compute());
  way.factor_gradients = gpu_.memory.take(x->rows * 4);
  gpu::routed_swiglu_backward({x->rows, width},
                              {in, d, way.factors.floats(), y, way.factor_gradients.floats()}, compute());
}

void DeviceOperations::add(DeviceCall& call) {
  const DeviceHandle &a = call.reads[0], &b = call.reads[1];
  TW_CHECK(a->size() == b->size());
  const void *x = read(a), *y = read(b);
  if (!call.writes[0]) call.writes[0] = tensor(a->rows, a->width);
  gpu::add(x, y, call.writes[0]->data(), a->size(), compute());
}

void DeviceOperations::embed(DeviceCall& call) {
  const Parameter w = parameter(call);
  const Extent& rows = w.flat->part.row[0];
  const gpu::TableSize size{rows_, w.flat->part.columns, rows.first, rows.count};
  if (call.backward()) {
    const void* dy = read(call.reads[0]);
    return gpu::embedding_backward(size, tokens(call, false), dy, w.gradient.added(), compute());
  }
  call.writes[0] = tensor(size.rows, size.width);
  gpu::embedding_forward(size, tokens(call, false), w.value, call.writes[0]->data(), compute());
}

void DeviceOperations::score(DeviceCall& call) {
  DeviceHandle& logits = call.reads[0];
  if (by_chunks(call, call.io.reads[0])) {  // all at the head's backward
    if (!call.backward()) {
      call.writes[0] = tensor(logits->rows, 3, gpu::Number::fp32);
      return;
    }
    head(call).parts = call.reads[1];
    call.writes[0] = std::move(logits);
    return;
  }
  const gpu::VocabularyPart part = vocabulary(call, logits->rows, logits->width);
  const double scale = loss_scale();
  void* at = read(logits);
  if (!call.backward()) {
    call.writes[0] = tensor(logits->rows, 3, gpu::Number::fp32);
    float* parts = call.writes[0]->block.floats();
    gpu::score_forward(part, tokens(call, true), at, parts, compute());
    if (call.io.writes[0] == call.work.operands.output && view_.cut_index() == 0)
      gpu::add_loss(part.rows, parts, scale, sums() + 1, compute());
    return;
  }
  const auto* parts = static_cast<const float*>(read(call.reads[1]));
  logits->block.own(gpu_.lanes);
  gpu::score_backward(part, {tokens(call, true), parts}, static_cast<float>(scale), at, compute());
  call.writes[0] = std::move(logits);  // written over
}

void DeviceOperations::merge_scores(DeviceCall& call) {
  const Group group = view_.group(call.io.group);
  const DeviceHandle& mine = call.reads[0];
  const auto ranks = static_cast<std::int64_t>(group.size());
  const double scale = loss_scale();
  if (head_is_open(call)) {
    call.writes[0] = tensor(mine->rows, 3, gpu::Number::fp32);
    return;
  }
  DeviceHandle out = tensor(mine->rows, 3, gpu::Number::fp32);
  Block all = gpu_.memory.take(mine->bytes() * ranks);
  out->ready = on_network({&mine->block, &all, &out->block}, [&](gpu::Stream stream) {
    peers(group).all_gather(mine->data(), mine->bytes(), all.data(), stream);
    gpu::merge_scores(mine->rows, ranks, all.floats(), out->block.floats(), stream);
    if (view_.cut_index() == 0) gpu::add_loss(mine->rows, out->block.floats(), scale, sums() + 1, stream);
  });
  call.writes[0] = std::move(out);
}

}  // namespace tw::train
