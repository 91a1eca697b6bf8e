// cuDNN's attention, whole and in blocks of a ring with our kernels between, against softmax in double.
#include <cmath>
#include <utility>

#include "kernels/backend/gpu/attention.hpp"
#include "kernels/ring_ops.hpp"
#include "tests/gpu/gpu_kernels.hpp"

namespace tw::gpu {
namespace {

// Softmax in double, straight from its definition.
struct PlainAttention {
  std::vector<float> out, dq, dk, dv;
};
PlainAttention plain(const AttentionCall& c, const std::vector<float>& q, const std::vector<float>& k,
                     const std::vector<float>& v, const std::vector<float>& dout) {
  PlainAttention r{std::vector<float>(q.size()), std::vector<float>(q.size()), std::vector<float>(k.size()),
                   std::vector<float>(k.size())};
  const auto d = static_cast<std::size_t>(c.head_dim), l = static_cast<std::size_t>(c.length);
  const auto h = static_cast<std::size_t>(c.heads), hk = static_cast<std::size_t>(c.kv_heads);
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  for (std::size_t b = 0; b < static_cast<std::size_t>(c.batch); ++b) {
    for (std::size_t head = 0; head < h; ++head) {
      for (std::size_t i = 0; i < l; ++i) {
        const std::size_t at = ((b * l + i) * h + head) * d;
        std::vector<double> p(i + 1), dp(i + 1);
        double sum = 0, mean = 0;
        const auto key = [&](std::size_t j) { return ((b * l + j) * hk + head / (h / hk)) * d; };
        for (std::size_t j = 0; j <= i; ++j) {
          for (std::size_t e = 0; e < d; ++e) p[j] += static_cast<double>(q[at + e]) * k[key(j) + e] * scale;
          for (std::size_t e = 0; e < d; ++e) dp[j] += static_cast<double>(dout[at + e]) * v[key(j) + e];
          sum += p[j] = std::exp(p[j]);
        }
        for (std::size_t j = 0; j <= i; ++j) mean += (p[j] /= sum) * dp[j];
        for (std::size_t j = 0; j <= i; ++j) {
          const double ds = p[j] * (dp[j] - mean) * scale;
          for (std::size_t e = 0; e < d; ++e) {
            r.out[at + e] += static_cast<float>(p[j] * v[key(j) + e]);
            r.dq[at + e] += static_cast<float>(ds * k[key(j) + e]);
            r.dk[key(j) + e] += static_cast<float>(ds * q[at + e]);
            r.dv[key(j) + e] += static_cast<float>(p[j] * dout[at + e]);
          }
        }
      }
    }
  }
  return r;
}

TEST_F(GpuKernels, CausalAttention) {
  const Dnn dnn(stream());
  for (const AttentionCall& base :
       {AttentionCall{2, 4, 4, 256, 128}, {1, 8, 2, 384, 128}, {2, 4, 1, 256, 64}}) {
    AttentionCall call = base;
    const std::int64_t wide = call.batch * call.length * call.heads * call.head_dim;
    const std::int64_t thin = wide / call.heads * call.kv_heads;
    const Buffer q = normal(wide), k = normal(thin), v = normal(thin), dout = normal(wide);
    const Buffer out = unwritten(wide), dq = unwritten(wide), dk = unwritten(thin), dv = unwritten(thin);
    const Buffer sums = unwritten(call.batch * call.heads * call.length, 4);
    const AttentionPointers at{q.data(),    k.data(),  v.data(),  out.data(), sums.data(),
                               dout.data(), dq.data(), dk.data(), dv.data()};
    AttentionKernel(dnn, call).run(at);
    synchronise();
    call.backward = true;
    AttentionKernel(dnn, call).run(at);
    const PlainAttention wanted = plain(call, floats(q), floats(k), floats(v), floats(dout));
    // bf16 probabilities and score gradients inside: an error of 2^-9 in each of many terms.
    EXPECT_LT(error_of(floats(out), wanted.out), 5e-3);
    EXPECT_LT(error_of(floats(dq), wanted.dq), 1e-2);
    EXPECT_LT(error_of(floats(dk), wanted.dk), 1e-2);
    EXPECT_LT(error_of(floats(dv), wanted.dv), 1e-2);
  }
}

// Two ranks of a ring, each with two of the four quarters of each sequence, against whole attention.
class ZigzagAttention : public GpuKernels {
 protected:
  static constexpr std::int64_t kBatch = 2, kHeads = 4, kKv = 2, kDim = 64, kRows = 192, kHalf = kRows / 2;
  static constexpr std::int64_t kQ = kHeads * kDim, kK = kKv * kDim, kWide = kQ + 2 * kK;
  static constexpr std::int64_t kAll = kBatch * kRows;
  using Floats = std::vector<float>;

  // A rank's rows of whole sequences.
  static Floats rows_of(const Floats& whole, std::int64_t width, std::int64_t rank) {
    Floats out;
    for (std::int64_t b = 0; b < kBatch; ++b) {
      for (const std::int64_t quarter : {rank, 3 - rank}) {
        const auto first = whole.begin() + ((b * 4 + quarter) * kHalf) * width;
        out.insert(out.end(), first, first + kHalf * width);
      }
    }
    return out;
  }
  // Side by side in one row each.
  Buffer joined(const std::vector<std::pair<Floats, std::int64_t>>& parts) {
    std::vector<bf16> out;
    for (std::int64_t row = 0; row < kAll; ++row) {
      for (const auto& [values, width] : parts) {
        for (std::int64_t i = row * width; i < (row + 1) * width; ++i)
          out.push_back(static_cast<bf16>(values[static_cast<std::size_t>(i)]));
      }
    }
    Buffer made(2 * std::ssize(out));
    to_device(out.data(), made.data(), made.bytes(), stream());
    synchronise();
    return made;
  }
  static Floats columns(const Floats& rows, std::int64_t stride, std::int64_t first, std::int64_t width) {
    Floats out;
    for (std::int64_t i = first; i < std::ssize(rows); i += stride)
      out.insert(out.end(), rows.begin() + i, rows.begin() + i + width);
    return out;
  }
  static char* at(const Buffer& from, std::int64_t element) {
    return static_cast<char*>(from.data()) + 2 * element;
  }
};

TEST_F(ZigzagAttention, IsThatOfWholeSequences) {
  const Dnn dnn(stream());
  const AttentionCall whole{kBatch, kHeads, kKv, 2 * kRows, kDim};
  const Floats q = floats(normal(2 * kAll * kQ)), k = floats(normal(2 * kAll * kK)),
               v = floats(normal(2 * kAll * kK)), dout = floats(normal(2 * kAll * kQ));
  const PlainAttention wanted = plain(whole, q, k, v, dout);
  std::vector<Floats> dk(2, Floats(kAll * kK)), dv(2, Floats(kAll * kK));  // of each rank's own keys
  const auto add = [](Floats& to, const Floats& more) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += more[i];
  };
  for (const std::int64_t rank : {0, 1}) {
    const std::int64_t other = 1 - rank, first = rank == 0 ? kHalf : 0, count = rank == 0 ? kHalf : kRows;
    const Buffer rows =
        joined({{rows_of(q, kQ, rank), kQ}, {rows_of(k, kK, rank), kK}, {rows_of(v, kK, rank), kK}});
    const Buffer block = joined({{rows_of(k, kK, other), kK}, {rows_of(v, kK, other), kK}});
    const Buffer upstream = joined({{rows_of(dout, kQ, rank), kQ}});
    AttentionCall own{kBatch, kHeads, kKv, kRows, kDim, false, kWide};
    AttentionCall foreign = own;
    foreign.length = count, foreign.causal = false, foreign.kv_length = rank == 0 ? kRows : kHalf;
    foreign.kv_stride = 2 * kK, foreign.sequence = kRows;
    const Buffer part = unwritten(kAll * kQ), state = unwritten(kAll * kQ, 4), out = unwritten(kAll * kQ);
    const Buffer sums = unwritten(kAll * kHeads, 4), part_sums = unwritten(kBatch * kHeads * count, 4),
                 all_sums = unwritten(kAll * kHeads, 4);
    AttentionKernel(dnn, own).run({at(rows, 0), at(rows, kQ), at(rows, kQ + kK), part.data(), sums.data()});
    widen(part.data(), state.floats(), kAll * kQ, stream());
    AttentionKernel(dnn, foreign)
        .run({at(rows, first * kWide), at(block, 0), at(block, kK), at(part, first * kQ), part_sums.data()});
    const FoldSize size{kBatch, kRows, kHeads, kDim, first, count};
    finish_attention(size, {part.data(), part_sums.floats()}, {state.floats(), sums.floats()}, out.data(),
                     all_sums.floats(), stream());
    fold_attention(size, {part.data(), part_sums.floats()}, {state.floats(), sums.floats()}, stream());
    EXPECT_LT(error_of(floats(out), rows_of(wanted.out, kQ, rank)), 5e-3);
    EXPECT_LT(error_of(host<float>(state), floats(out)), kTolerance);
    EXPECT_LT(error_of(host<float>(sums), host<float>(all_sums)), 1e-6);

    own.backward = foreign.backward = true;
    const Buffer made = unwritten(kAll * kWide), dq = unwritten(kAll * kWide),
                 gradient = unwritten(kAll * kWide, 4);
    Buffer away(2 * kAll * 2 * kK);
    clear(away.data(), away.bytes(), stream());
    copy_rows({kBatch * kHeads, count * 4, kRows * 4, count * 4}, all_sums.floats() + first, part_sums.data(),
              stream());
    AttentionKernel(dnn, own).run({at(rows, 0), at(rows, kQ), at(rows, kQ + kK), out.data(), all_sums.data(),
                                   upstream.data(), at(made, 0), at(made, kQ), at(made, kQ + kK)});
    AttentionKernel(dnn, foreign)
        .run({at(rows, first * kWide), at(block, 0), at(block, kK), at(out, first * kQ), part_sums.data(),
              at(upstream, first * kQ), at(dq, first * kWide), at(away, 0), at(away, kK)});
    widen(made.data(), gradient.floats(), kAll * kWide, stream());
    add_rows({kBatch, kRows, count, kQ, kWide, kWide}, at(dq, first * kWide),
             gradient.floats() + first * kWide, stream());
    const Floats of_rows = host<float>(gradient), of_block = floats(away);
    EXPECT_LT(error_of(columns(of_rows, kWide, 0, kQ), rows_of(wanted.dq, kQ, rank)), 1e-2);
    const auto here = static_cast<std::size_t>(rank), there = static_cast<std::size_t>(other);
    add(dk[here], columns(of_rows, kWide, kQ, kK)), add(dv[here], columns(of_rows, kWide, kQ + kK, kK));
    add(dk[there], columns(of_block, 2 * kK, 0, kK)), add(dv[there], columns(of_block, 2 * kK, kK, kK));
  }
  for (const std::int64_t rank : {0, 1}) {
    EXPECT_LT(error_of(dk[static_cast<std::size_t>(rank)], rows_of(wanted.dk, kK, rank)), 1e-2);
    EXPECT_LT(error_of(dv[static_cast<std::size_t>(rank)], rows_of(wanted.dv, kK, rank)), 1e-2);
  }
}

}  // namespace
}  // namespace tw::gpu
