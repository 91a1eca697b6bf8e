#include "tests/unit/kernels/attention_support.hpp"

namespace tw::cpu {
namespace {

TEST(Attention, ByHand) {
  // One head of one feature; q = 1, keys (0, ln 3), values (4, 8). Row 0 sees key 0 alone; row 1 weighs the
  // values by 1/4 and 3/4: 7, with log(1 + 3).
  Packed packed{{1, 1, 1}, {0, 1}, {0, 0}, {1, 0, 4, 1, std::log(3.0), 8}};
  const AttentionResult result = attend(packed, {&packed});
  expect_equal(result.out, {4, 7}, 1e-15);
  expect_equal(result.log_sum_exp, {0, std::log(4.0)}, 1e-15);
  // In different sequences row 1 sees its own key alone.
  packed.sequences = {0, 1};
  expect_equal(attend(packed, {&packed}).out, {4, 8}, 1e-15);
}

TEST(Attention, ScoresAreScaledAndHeadsGrouped) {
  // Four heads of 4 on two key heads, one token: out = v of the head's key head; lse = q.k / 2.
  Packed packed{{4, 2, 4}, {0}, {0}, Tensor(32, 1.0)};
  for (std::size_t i = 0; i < 4; ++i) packed.qkv[28 + i] = 2;  // the second value head
  const AttentionResult result = attend(packed, {&packed});
  EXPECT_EQ(result.out, (Tensor{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2}));
  EXPECT_EQ(result.log_sum_exp, (Tensor{2, 2, 2, 2}));
}

TEST(Attention, AQueryThatSeesNothingGivesZeros) {
  Packed q{{1, 1, 1}, {0}, {0}, {1, 1, 1}};
  const Packed later{{1, 1, 1}, {5}, {0}, {1, 1, 1}};
  const AttentionResult result = attend(q, {&later});
  EXPECT_EQ(result.out[0], 0);
  EXPECT_TRUE(std::isinf(result.log_sum_exp[0]) && result.log_sum_exp[0] < 0);
  Tensor dq(3), dkv(3);
  attend_backward(q, result, {1}, {{&later, dkv.data()}}, dq.data());
  EXPECT_EQ(dq, zeros(3));
  EXPECT_EQ(dkv, zeros(3));
}

TEST(Attention, GradientsAreThoseOfDifferences) {
  const std::vector<HeadShape> shapes = {{1, 1, 3}, {2, 1, 4}, {4, 2, 2}, {3, 3, 5}};
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    Packed packed = random_packed(random, shapes[seed - 1], {random.whole(1, 5), random.whole(1, 6)});
    const Tensor dout = random.tensor(packed.rows() * packed.q_width());
    Tensor gradient = zeros(packed.rows() * packed.stride());
    attend_backward(packed, attend(packed, {&packed}), dout, {{&packed, gradient.data()}}, gradient.data());
    expect_gradients([&] { return dot(attend(packed, {&packed}).out, dout); },
                     {{"qkv", &packed.qkv, &gradient}});
  }
}

// Row i against softmax over the keys that it sees, worked out without tiles or running state.
TEST(Attention, IsThePlainFormulaOverManyTiles) {
  Random random(6);
  const Packed packed = random_packed(random, {2, 1, 3}, {150, 20, 70});
  const AttentionResult result = attend(packed, {&packed});
  for (std::int64_t cell = 0; cell < packed.rows() * 2; ++cell) {
    const std::size_t row = index(cell / 2);
    const double* q = packed.qkv.data() + cell / 2 * packed.stride() + cell % 2 * 3;
    double sum = 0;
    Tensor out = zeros(3);
    for (std::size_t other = 0; other <= row; ++other) {
      if (packed.sequences[other] != packed.sequences[row]) continue;
      const double* k = packed.qkv.data() + static_cast<std::int64_t>(other) * packed.stride() + 6;
      const double weight = std::exp((q[0] * k[0] + q[1] * k[1] + q[2] * k[2]) / std::sqrt(3.0));
      sum += weight;
      for (std::size_t i = 0; i < 3; ++i) out[i] += weight * k[3 + i];
    }
    EXPECT_NEAR(result.log_sum_exp[index(cell)], std::log(sum), 1e-13);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(result.out[index(3 * cell) + i], out[i] / sum, 1e-13);
  }
}

// The scores of later keys are far larger, so that the running maximum moves by hundreds.
TEST(Attention, LargeScoresDoNotOverflow) {
  Random random(7);
  Packed packed = random_packed(random, {1, 1, 2}, {200});
  for (std::int64_t row = 0; row < 200; ++row) {
    packed.qkv[index(6 * row)] = 50;
    packed.qkv[index(6 * row + 2)] = static_cast<double>(row);
  }
  const AttentionResult result = attend(packed, {&packed});
  for (std::int64_t row = 0; row < 200; ++row) {
    // The last key outweighs all others by exp(50 / sqrt(2)): the output is its value.
    EXPECT_NEAR(result.out[index(2 * row)], packed.qkv[index(6 * row + 4)], 1e-12);
  }
}

struct Parts {
  std::vector<Packed> packed;
  std::vector<std::vector<std::int64_t>> rows;
};

// Every part's queries against all parts' keys in random order must give the whole's rows and gradients.
void expect_parts_equal_whole(Random& random, const Packed& whole, const Parts& parts) {
  const Tensor dout = random.tensor(whole.rows() * whole.q_width());
  const AttentionResult expected = attend(whole, {&whole});
  Tensor gradient = zeros(whole.rows() * whole.stride());
  attend_backward(whole, expected, dout, {{&whole, gradient.data()}}, gradient.data());

  AttentionResult together{zeros(whole.rows() * whole.q_width()), zeros(whole.rows() * whole.shape.heads)};
  std::vector<Tensor> gradients;
  for (const Packed& part : parts.packed) gradients.push_back(zeros(part.rows() * part.stride()));
  for (std::size_t p = 0; p < parts.packed.size(); ++p) {
    const Packed& q = parts.packed[p];
    std::vector<std::size_t> order(parts.packed.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    random.shuffle(order);
    std::vector<const Packed*> keys;
    std::vector<std::pair<const Packed*, double*>> key_gradients;
    for (const std::size_t i : order) {
      keys.push_back(&parts.packed[i]);
      key_gradients.emplace_back(&parts.packed[i], gradients[i].data());
    }
    const AttentionResult own = attend(q, keys);
    Tensor own_dout(index(q.rows() * q.q_width()));
    gather_rows(q.q_width(), parts.rows[p], dout.data(), own_dout.data());
    attend_backward(q, own, own_dout, key_gradients, gradients[p].data());
    scatter_add_rows(q.q_width(), parts.rows[p], own.out.data(), together.out.data());
    scatter_add_rows(q.shape.heads, parts.rows[p], own.log_sum_exp.data(), together.log_sum_exp.data());
  }
  Tensor all = zeros(whole.rows() * whole.stride());
  for (std::size_t p = 0; p < gradients.size(); ++p) {
    scatter_add_rows(whole.stride(), parts.rows[p], gradients[p].data(), all.data());
  }
  expect_equal(together.out, expected.out, 1e-13);
  expect_equal(together.log_sum_exp, expected.log_sum_exp, 1e-13);
  expect_equal(all, gradient, 1e-12);
}

TEST(Attention, BlocksInAnyOrderEqualOneBlock) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Random random(seed);
    const Packed whole = random_packed(random, {4, 2, 3}, {random.whole(10, 90), random.whole(1, 70)});
    std::vector<std::int64_t> rows(index(whole.rows()));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
    random.shuffle(rows);  // no order of rows is assumed, only their positions
    Parts parts;
    for (std::size_t first = 0; first < rows.size();) {
      const std::size_t last = std::min(rows.size(), first + index(random.whole(1, 40)));
      parts.rows.emplace_back(rows.begin() + static_cast<std::ptrdiff_t>(first),
                              rows.begin() + static_cast<std::ptrdiff_t>(last));
      parts.packed.push_back(take(whole, parts.rows.back()));
      first = last;
    }
    expect_parts_equal_whole(random, whole, parts);
  }
}

// Each sequence is cut into 2 P chunks, of which rank r of P holds r and 2 P - 1 - r.
TEST(Attention, ARingOfAZigzagSplitEqualsOneBlock) {
  for (const std::int64_t ranks : {2, 3, 4}) {
    Random random(static_cast<std::uint64_t>(ranks));
    const std::int64_t chunk = 11;
    const std::int64_t length = 2 * ranks * chunk;
    const Packed whole = random_packed(random, {2, 1, 4}, {length, length});
    Parts parts;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      std::vector<std::int64_t> rows;
      for (const std::int64_t sequence : {0, 1}) {
        for (const std::int64_t held : {rank, 2 * ranks - 1 - rank}) {
          for (std::int64_t i = 0; i < chunk; ++i) rows.push_back(sequence * length + held * chunk + i);
        }
      }
      parts.rows.push_back(rows);
      parts.packed.push_back(take(whole, rows));
    }
    expect_parts_equal_whole(random, whole, parts);
  }
}

}  // namespace
}  // namespace tw::cpu
