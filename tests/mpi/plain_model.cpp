#include "tests/mpi/plain_model.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numeric>

namespace tw::train {
namespace {

using Rows = std::vector<Array>;  // one for each token of a sequence

// Rows `first` to `first + rows` of a matrix [?, columns] times x.
Array times(const Array& matrix, std::int64_t first, std::int64_t rows, const Array& x) {
  Array out;
  for (std::int64_t row = first; row < first + rows; ++row) {
    const auto begin = matrix.begin() + row * static_cast<std::int64_t>(x.size());
    out.push_back(std::inner_product(x.begin(), x.end(), begin, 0.0));
  }
  return out;
}
Array plus(Array a, const Array& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}
Array part(const Array& x, std::int64_t first, std::int64_t count) {
  return {x.begin() + first, x.begin() + first + count};
}
Array softmax(Array x) {
  const double most = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - most);
  for (double& v : x) v /= sum;
  return x;
}
Array rms_norm(Array x, const Array& weight, double epsilon) {
  const double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] *= weight[i] / std::sqrt(mean + epsilon);
  return x;
}
// Feature i and i + half are one complex number, turned by position * base^(-i / half).
Array rotated(Array head, int position, double base) {
  const std::size_t half = head.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const double angle = position * std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
    const std::complex<double> turned =
        std::complex<double>(head[i], head[i + half]) * std::polar(1.0, angle);
    head[i] = turned.real(), head[i + half] = turned.imag();
  }
  return head;
}
// Of expert or block `index` of stacked ones.
Array feed_forward(const Array& up, const Array& down, std::int64_t index, std::int64_t ffn, const Array& x) {
  Array gate = times(up, index * 2 * ffn, ffn, x);
  const Array linear = times(up, index * 2 * ffn + ffn, ffn, x);
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * linear[i];
  const auto hidden = static_cast<std::int64_t>(x.size());
  return times(down, index * hidden, hidden, gate);
}

class Forward {
 public:
  Forward(const PlainModel& plain, const std::vector<Array>& weights, std::int64_t step)
      : p_(plain), weights_(weights), step_(step) {}

  double loss() {
    std::vector<Rows> x;
    const Array& table = next();
    for (std::int64_t s = 0; s < p_.batch; ++s) {
      x.emplace_back();
      for (std::int32_t t = 0; t < p_.seq; ++t)
        x.back().push_back(part(table, token(s, t) * hidden(), hidden()));
    }
    double sum = 0;
    for (const std::uint8_t kind : p_.model.layer_kind) sum += layer(p_.model.kinds[kind], x);
    const Array &norm = next(), &head = p_.model.tied_embeddings ? table : next();
    for (std::int64_t s = 0; s < p_.batch; ++s) {
      for (std::int32_t t = 0; t < p_.seq; ++t) {
        const Array y =
            rms_norm(x[static_cast<std::size_t>(s)][static_cast<std::size_t>(t)], norm, epsilon());
        const Array chances = softmax(times(head, 0, p_.model.vocab, y));
        sum -= std::log(chances[static_cast<std::size_t>(token(s, t + 1))]) / tokens();
      }
    }
    return sum;
  }

 private:
  const Array& next() { return weights_[at_++]; }
  std::int64_t hidden() const { return p_.model.hidden; }
  double epsilon() const { return p_.settings.norm_epsilon; }
  double tokens() const { return static_cast<double>(p_.batch * p_.seq); }
  std::int64_t token(std::int64_t s, std::int32_t t) const { return p_.data.token(step_ * p_.batch + s, t); }

  // Returns the auxiliary loss.
  double layer(const LayerKind& kind, std::vector<Rows>& x) {
    attention(kind.attention, x);
    const Array& norm = next();
    return kind.moe ? routed(*kind.moe, norm, x) : (dense(*kind.mlp, norm, x), 0.0);
  }

  void attention(const Attention& a, std::vector<Rows>& x) {
    const Array &norm = next(), &qkv = next();
    const Array* head_norm = a.qk_norm == QkNorm::head ? &next() : nullptr;
    const Array& out = next();
    for (Rows& rows : x) {
      std::vector<Rows> q(static_cast<std::size_t>(a.heads)), k(static_cast<std::size_t>(a.kv_heads)), v = k;
      for (std::size_t t = 0; t < rows.size(); ++t) {
        const Array y = rms_norm(rows[t], norm, epsilon());
        std::int64_t row = 0;
        const auto take = [&](Rows& to, int weight) {  // of the norms; -1: neither normed nor turned
          Array head = times(qkv, row, a.head_dim, y);
          row += a.head_dim;
          if (head_norm && weight >= 0)
            head = rms_norm(head, part(*head_norm, weight * a.head_dim, a.head_dim), epsilon());
          to.push_back(weight < 0 ? head : rotated(head, static_cast<int>(t), p_.settings.rotary_base));
        };
        for (Rows& head : q) take(head, 0);
        for (Rows& head : k) take(head, 1);
        for (Rows& head : v) take(head, -1);
      }
      for (std::size_t t = 0; t < rows.size(); ++t) {
        Array context;
        for (std::size_t h = 0; h < q.size(); ++h) {
          const std::size_t shared = h * k.size() / q.size();
          const Array mean = attended(q[h][t], k[shared], v[shared], t + 1);
          context.insert(context.end(), mean.begin(), mean.end());
        }
        rows[t] = plus(rows[t], times(out, 0, hidden(), context));
      }
    }
  }
  static Array attended(const Array& q, const Rows& k, const Rows& v, std::size_t seen) {
    Array scores, out(q.size(), 0.0);
    for (std::size_t t = 0; t < seen; ++t)
      scores.push_back(std::inner_product(q.begin(), q.end(), k[t].begin(), 0.0) /
                       std::sqrt(static_cast<double>(q.size())));
    const Array weights = softmax(scores);
    for (std::size_t t = 0; t < seen; ++t) {
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += weights[t] * v[t][i];
    }
    return out;
  }

  void dense(const Mlp& mlp, const Array& norm, std::vector<Rows>& x) {
    const Array &up = next(), &down = next();
    for (Rows& rows : x) {
      for (Array& row : rows)
        row = plus(row, feed_forward(up, down, 0, mlp.ffn, rms_norm(row, norm, epsilon())));
    }
  }

  double routed(const Moe& moe, const Array& norm, std::vector<Rows>& x) {
    const Array &router = next(), &up = next(), &down = next();
    const Array* shared_up = moe.shared_ffn > 0 ? &next() : nullptr;
    const Array* shared_down = moe.shared_ffn > 0 ? &next() : nullptr;
    const auto experts = static_cast<std::size_t>(moe.experts),
               groups = x.size() / static_cast<std::size_t>(p_.pooled);
    std::vector<Array> share(groups, Array(experts, 0.0)), chance = share;  // f and P of each group
    const double routes = static_cast<double>(p_.pooled * p_.seq);
    for (std::size_t s = 0; s < x.size(); ++s) {
      const std::size_t group = s / static_cast<std::size_t>(p_.pooled);
      for (Array& row : x[s]) {
        const Array y = rms_norm(row, norm, epsilon());
        const Array p = softmax(times(router, 0, moe.experts, y));
        std::vector<std::size_t> order(experts);
        std::iota(order.begin(), order.end(), 0u);
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
        order.resize(static_cast<std::size_t>(moe.top_k));
        double chosen = 0;
        for (const std::size_t e : order) chosen += p[e], share[group][e] += 1 / routes / moe.top_k;
        for (std::size_t e = 0; e < experts; ++e) chance[group][e] += p[e] / routes;
        for (const std::size_t e : order) {
          const Array z = feed_forward(up, down, static_cast<std::int64_t>(e), moe.ffn, y);
          for (std::size_t i = 0; i < row.size(); ++i) row[i] += p[e] / chosen * z[i];
        }
        if (shared_up) row = plus(row, feed_forward(*shared_up, *shared_down, 0, moe.shared_ffn, y));
      }
    }
    double sum = 0;
    for (std::size_t g = 0; g < groups; ++g)
      sum += std::inner_product(share[g].begin(), share[g].end(), chance[g].begin(), 0.0);
    return p_.settings.balance * static_cast<double>(experts) * sum / static_cast<double>(groups);
  }

  const PlainModel& p_;
  const std::vector<Array>& weights_;
  std::int64_t step_;
  std::size_t at_ = 0;
};

}  // namespace

double PlainModel::loss(const std::vector<Array>& weights, std::int64_t step) const {
  return Forward(*this, weights, step).loss();
}

void PlainAdamW::update(std::vector<Array>& weights, const std::vector<Array>& gradients) {
  double squares = 0;
  for (const Array& g : gradients) squares += std::inner_product(g.begin(), g.end(), g.begin(), 0.0);
  const double scale = std::min(1.0, settings_.clip / std::sqrt(squares));
  first_.resize(weights.size()), second_.resize(weights.size()), ++step_;
  for (std::size_t w = 0; w < weights.size(); ++w) {
    first_[w].resize(weights[w].size()), second_[w].resize(weights[w].size());
    for (std::size_t i = 0; i < weights[w].size(); ++i) {
      const double g = gradients[w][i] * scale;
      double &m = first_[w][i], &v = second_[w][i];
      m = settings_.beta1 * m + (1 - settings_.beta1) * g;
      v = settings_.beta2 * v + (1 - settings_.beta2) * g * g;
      const double mean = m / (1 - std::pow(settings_.beta1, step_));
      const double size = std::sqrt(v / (1 - std::pow(settings_.beta2, step_)));
      weights[w][i] -= settings_.learning_rate *
                       (mean / (size + settings_.epsilon) + settings_.weight_decay * weights[w][i]);
    }
  }
}

}  // namespace tw::train
