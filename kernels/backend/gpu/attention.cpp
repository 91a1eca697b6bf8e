#include "kernels/backend/gpu/attention.hpp"

#include <cmath>
#include <limits>
#include <utility>

namespace tw::gpu {

// The operations in the order that cuDNN's fused engines know (its developer guide, "Fused attention"):
// forward softmax(Q K^T) V with log-sum-exp kept; backward after Dao et al. 2022, algorithm 4.
struct AttentionKernel::Plan {
  const Dnn* dnn;
  AttentionCall call;
  DnnGraph graph;
  TensorId q = 0, k = 0, v = 0, out = 0, statistics = 0, dout = 0, dq = 0, dk = 0, dv = 0, dots = 0,
           dq_sums = 0;
  Buffer dots_memory, dq_memory;

  Plan(const Dnn& handle, const AttentionCall& what) : dnn(&handle), call(what) {
    if (call.kv_length == 0) call.kv_length = call.length;
    if (call.kv_stride == 0) call.kv_stride = call.stride;
    if (call.sequence == 0) call.sequence = call.length;
  }

  // In memory; stride 0: heads side by side.
  Extents rows_of(std::int64_t heads, std::int64_t length, std::int64_t stride) const {
    const std::int64_t d = call.head_dim, wide = stride > 0 ? stride : heads * d;
    return {{call.batch, heads, length, d}, {call.sequence * wide, d, wide, 1}};
  }
  Extents dense(std::int64_t heads, std::int64_t length) const {
    const std::int64_t d = call.head_dim;
    return {{call.batch, heads, length, d}, {length * heads * d, d, heads * d, 1}};
  }
  static Extents turned(Extents e) {
    std::swap(e.sizes[2], e.sizes[3]), std::swap(e.strides[2], e.strides[3]);
    return e;
  }
  Extents rows() const { return rows_of(call.heads, call.length, 0); }  // out and its gradient
  Extents queries() const { return rows_of(call.heads, call.length, call.stride); }
  Extents keys() const { return rows_of(call.kv_heads, call.kv_length, call.kv_stride); }  // values too
  Extents packed(std::int64_t heads, std::int64_t length, std::int64_t last) const {
    return {{call.batch, heads, length, last}, {heads * length * last, length * last, last, 1}};
  }
  Extents per_query(std::int64_t last) const { return packed(call.heads, call.length, last); }
  Extents scores() const { return per_query(call.kv_length); }
  TensorId score(Held held = Held::fp32) { return graph.inside(scores(), held); }
  TensorId per_row() { return graph.inside(per_query(1), Held::fp32); }
  TensorId pointed(const DnnGraph::PointCall& c, TensorId y) {
    graph.point(c, y);
    return y;
  }
  TensorId scaled(TensorId x) {
    const TensorId scale =
        graph.constant(static_cast<float>(1 / std::sqrt(static_cast<double>(call.head_dim))));
    return pointed({Point::mul, x, scale}, score());
  }
  TensorId masked(TensorId x) {
    if (!call.causal) return x;
    const TensorId row = pointed({Point::index, x, 0, 0, 2}, score(Held::int32));
    const TensorId col = pointed({Point::index, x, 0, 0, 3}, score(Held::int32));
    const TensorId seen = pointed({Point::not_less, row, col}, score(Held::boolean));
    const TensorId unseen = graph.constant(-std::numeric_limits<float>::infinity());
    return pointed({Point::select, x, unseen, seen}, score());
  }
  TensorId product(TensorId a, TensorId b, TensorId c) {
    graph.product(a, b, c);
    return c;
  }

  void forward() {
    q = graph.tensor(queries(), Held::bf16), k = graph.tensor(turned(keys()), Held::bf16);
    v = graph.tensor(keys(), Held::bf16), out = graph.tensor(rows(), Held::bf16);
    statistics = graph.tensor(per_query(1), Held::fp32);
    const TensorId s = masked(scaled(product(q, k, score())));
    const TensorId most = per_row(), sum = per_row();
    graph.reduce(Reduced::largest, s, most);
    const TensorId e = pointed({Point::exp, pointed({Point::sub, s, most}, score())}, score());
    graph.reduce(Reduced::sum, e, sum);
    graph.point({Point::add, most, pointed({Point::log, sum}, per_row())}, statistics);
    const TensorId p = pointed({Point::div, e, sum}, score(Held::bf16));
    graph.product(p, v, out);
  }

  // x^T times right, [kv_length, head_dim] per head, summed over the queries' heads that share a key's.
  void into_keys(TensorId x, TensorId right, TensorId gradient) {
    const TensorId by_key = graph.inside(turned(scores()), Held::bf16);
    graph.reshape(x, by_key);
    if (call.heads == call.kv_heads) return graph.product(by_key, right, gradient);
    const TensorId each = graph.inside(packed(call.heads, call.kv_length, call.head_dim), Held::bf16);
    graph.product(by_key, right, each);
    graph.reduce(Reduced::sum, each, gradient);
  }

  void backward() {
    q = graph.tensor(queries(), Held::bf16), k = graph.tensor(turned(keys()), Held::bf16);
    v = graph.tensor(turned(keys()), Held::bf16), out = graph.tensor(rows(), Held::bf16);
    dout = graph.tensor(rows(), Held::bf16), dq = graph.tensor(queries(), Held::bf16);
    dk = graph.tensor(keys(), Held::bf16), dv = graph.tensor(keys(), Held::bf16);
    statistics = graph.tensor(per_query(1), Held::fp32), dots = graph.tensor(per_query(1), Held::fp32);
    dq_sums = graph.tensor(per_query(call.head_dim), Held::fp32);

    const TensorId dot = per_row();
    const TensorId products = graph.inside(dense(call.heads, call.length), Held::fp32);
    graph.reduce(Reduced::sum, pointed({Point::mul, dout, out}, products), dot);
    graph.point({Point::mul, dot, graph.constant(1)}, dots);
    const TensorId s = pointed({Point::sub, scaled(product(q, k, score())), statistics}, score());
    const TensorId p = pointed({Point::exp, masked(s)}, score());
    into_keys(p, dout, dv);
    const TensorId dp = pointed({Point::sub, product(dout, v, score()), dots}, score());
    const TensorId ds = scaled(pointed({Point::mul, dp, p}, score()));
    into_keys(ds, q, dk);
    const TensorId by_row = graph.inside(dense(call.kv_heads, call.kv_length), Held::bf16);
    graph.reshape(k, by_row);
    graph.product(ds, by_row, dq_sums);
    graph.point({Point::copy, dq_sums}, dq);
    const std::int64_t elements = call.batch * call.heads * call.length;
    dots_memory = Buffer(4 * elements), dq_memory = Buffer(4 * elements * call.head_dim);
  }
};

AttentionKernel::AttentionKernel(const Dnn& dnn, const AttentionCall& call)
    : plan_(std::make_unique<Plan>(dnn, call)) {
  call.backward ? plan_->backward() : plan_->forward();
  plan_->graph.build(dnn);
}

AttentionKernel::~AttentionKernel() = default;

void AttentionKernel::run(const AttentionPointers& at) const {
  const Plan& p = *plan_;
  std::vector<DnnGraph::Binding> tensors = {
      {p.q, at.q}, {p.k, at.k}, {p.v, at.v}, {p.out, at.out}, {p.statistics, at.log_sum_exp}};
  if (p.call.backward) {
    tensors.insert(tensors.end(), {{p.dout, at.dout},
                                   {p.dq, at.dq},
                                   {p.dk, at.dk},
                                   {p.dv, at.dv},
                                   {p.dots, p.dots_memory.data()},
                                   {p.dq_sums, p.dq_memory.data()}});
  }
  p.graph.run(*p.dnn, tensors);
}

}  // namespace tw::gpu
