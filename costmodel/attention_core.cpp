#include "costmodel/blocks/attention_core.hpp"

#include <algorithm>
#include <cmath>

namespace tw {
namespace {

// Of the ranks of cp, the one with most work: zigzag halves are even; contiguous blocks give the last
// rank blocks 1..P of P(P+1)/2, that is (2P-1)/P of the mean counting the diagonal as half.
double busiest_share(CpKind kind, double cp) {
  return kind == CpKind::ring ? (2 * cp - 1) / cp : 1.0;
}

Bytes statistics(const Builder& b, const AttentionShape& shape, double blocks) {
  const double rows = static_cast<double>(shape.batch * shape.heads * shape.q_len);
  if (b.kernels().attention != AttentionKernel::unfused) {
    return Bytes(std::llround(rows * static_cast<double>(size_of(DType::fp32))));  // log of the sum, per row
  }
  // The whole square is kept, masked or not: Korthikanti et al. 2022, section 4.1: 5 bytes with dropout.
  return Bytes(
      std::llround(b.kernels().unfused_pair_bytes * rows * blocks * static_cast<double>(shape.kv_len)));
}

struct CutSequence {
  AttentionShape shape;
  std::int32_t ring_hops = 0;
};

CutSequence cut_sequence(const Builder& b, const Attention& a, std::int64_t kv_heads) {
  const PassKey& key = b.input().key;
  const double seq = b.input().seq, cp = key.cp;
  CutSequence out;
  AttentionShape& s = out.shape;
  s.batch = key.mb;
  s.heads = a.heads / key.tp;
  s.kv_heads = std::max<std::int64_t>(kv_heads / key.tp, 1);
  s.head_dim = a.head_dim;
  s.value_dim = a.value_dim;
  s.kernel = b.kernels().attention;
  const double pairs = packed_pairs(seq, *b.input().training.document, a.window);
  if (key.cp == 1 || key.cp_kind == CpKind::a2a) {
    s.heads = std::max<std::int64_t>(s.heads / key.cp, 1);
    s.kv_heads = std::max<std::int64_t>(s.kv_heads / key.cp, 1);
    s.q_len = s.kv_len = b.input().seq;
    s.pairs = pairs;
    return out;
  }
  s.q_len = s.kv_len = b.input().seq / key.cp;
  s.pairs = pairs / cp / cp * busiest_share(key.cp_kind, cp);
  out.ring_hops = key.cp - 1;
  return out;
}

Work cp_all_to_all(const Builder& b, TensorId x) {
  const double held = static_cast<double>(b.local_bytes(x));
  return CollectiveWork{Collective::all_to_all, attention_group(bit(Dim::cp)), Bytes(b.local_bytes(x)),
                        Bytes(std::llround(*b.kernels().head_exchange_passes * held))};
}

}  // namespace

TensorId attend(Builder& b, const Attention& a, std::int64_t kv_heads, TensorId qkv) {
  const PassKey& key = b.input().key;
  const bool to_heads = key.cp > 1 && key.cp_kind == CpKind::a2a;
  const CutSequence cut_up = cut_sequence(b, a, kv_heads);
  const AttentionShape& s = cut_up.shape;
  const TensorSpec context{.name = "context",
                           .rows = b.tokens(),
                           .width = std::int64_t{a.heads} * a.value_dim,
                           .place = cut(AxisName::heads)};
  if (to_heads) {
    const TensorSpec wide{.name = "qkv", .rows = b.tokens(), .place = cut(AxisName::heads)};
    TensorSpec spread = wide;
    spread.width = std::int64_t{key.tp} * b.local_bytes(qkv) / std::llround(2 * b.tokens());
    qkv = b.exchange({.name = "cp_heads",
                      .what = Operator::spread_heads,
                      .out = spread,
                      .work = cp_all_to_all(b, qkv),
                      .term = Term::cp,
                      .heads = {a.heads / key.tp, kv_heads / key.tp, a.head_dim}},
                     qkv);
  }
  const double hop = b.tokens() * static_cast<double>(s.kv_heads * (a.head_dim + a.value_dim) * 2);
  TensorId out = b.attention({.name = "attention",
                              .shape = s,
                              .out = context,
                              .ring_hops = cut_up.ring_hops,
                              .hop = Bytes(std::llround(hop)),
                              .statistics = statistics(b, s, cut_up.ring_hops + 1)},
                             {qkv});
  if (!to_heads) return out;
  return b.exchange({.name = "cp_sequence",
                     .what = Operator::gather_heads,
                     .out = context,
                     .work = cp_all_to_all(b, out),
                     .term = Term::cp,
                     .heads = {a.heads / key.tp, kv_heads / key.tp, a.head_dim}},
                    out);
}

double causal_pairs(double seq, double window) {
  if (window <= 0 || window >= seq) return seq * (seq + 1) / 2;
  return window * (window + 1) / 2 + (seq - window) * window;
}

double packed_pairs(double seq, double document, double window) {
  if (document <= 0 || document >= seq) return causal_pairs(seq, window);
  return seq / document * causal_pairs(document, window);
}

TensorId attend_and_project(Builder& b, const Attention& a, std::int64_t kv_heads, TensorId qkv) {
  const TensorId context = attend(b, a, kv_heads, qkv);
  return b.linear({.name = "attention_out",
                   .out = b.model().hidden,
                   .split = Split::row,
                   .axis = AxisName::hidden,
                   .bias = a.out_bias},
                  context);
}

}  // namespace tw
