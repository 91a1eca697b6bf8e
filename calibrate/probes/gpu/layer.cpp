// One transformer layer, forward and backward, again and again for seconds: the whole layer's time (layer),
// each operator's time inside it (mix.NAME) and alone in a burst (alone.NAME), with clock and power. Shape of
// a layer: tokens, hidden, heads, heads of keys and values, head size, width of the MLP (sequence = tokens);
// of a routed one (moe_layer) that width is an expert's, then experts and the rows of each: a product per
// expert (looped_gemm: experts, rows, n, k). What a router does after its product, the choice of a few
// numbers per token, is not in it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <list>
#include <map>

#include "calibrate/probes/gpu/probe.hpp"
#include "kernels/backend/gpu/attention.hpp"

namespace tw::gpu {
namespace {

std::vector<Case> cases(const Launch&) {
  return {{"layer", {8192, 4096, 32, 8, 128, 14336}, "check"},
          {"layer", {4096, 8192, 16, 2, 128, 7168}, "check"},
          {"layer", {4096, 2048, 32, 4, 128, 6144}, "check"},
          {"moe_layer", {8192, 4096, 32, 8, 128, 14336, 8, 2048}, "check"},  // mixtral-8x7b
          {"moe_layer", {8192, 2048, 32, 4, 128, 768, 16, 4096}, "check"}};  // qwen3-30b-a3b, ep 8
}

struct Step {
  std::string name;
  std::vector<std::int64_t> shape;
  std::function<void()> run;
};

class Layer {
 public:
  Layer(Bench& bench, const std::vector<std::int64_t>& s)
      : bench_(bench),
        tokens_(s.at(0)),
        hidden_(s.at(1)),
        heads_(s.at(2)),
        kv_(s.at(3)),
        dim_(s.at(4)),
        ffn_(s.at(5)),
        experts_(s.size() > 6 ? s[6] : 0),
        rows_(s.size() > 6 ? s.at(7) : tokens_) {
    if (!bench.dnn) bench.dnn = std::make_unique<Dnn>(bench.stream);
    const std::int64_t t = tokens_, h = hidden_, qkv = (heads_ + 2 * kv_) * dim_, q = heads_ * dim_;
    const std::int64_t mlp_rows = experts_ > 0 ? experts_ * rows_ : t;
    // What is written is never read, so that operands keep the spread of real ones whatever came before.
    sink_ = values(std::max({2 * mlp_rows * std::max(ffn_, h), t * qkv, 2 * t * dim_}));
    void *x = values(t * h), *dy = values(t * h, 0.01f), *dpacked = values(t * qkv, 0.01f);
    void *mixed = values(t * q), *scale = values(h), *out = values(t * q), *sums = values(2 * t * heads_);
    void *gate_up = values(2 * mlp_rows * ffn_), *dgate_up = values(2 * mlp_rows * ffn_, 0.01f);
    void *act = values(mlp_rows * ffn_), *routed = values(mlp_rows * h),
         *drouted = values(mlp_rows * h, 0.01f);
    void *queries = values(t * q), *k = values(t * kv_ * dim_), *v = values(t * kv_ * dim_);
    void *dk = values(t * kv_ * dim_), *dv = values(t * kv_ * dim_), *dout = values(t * q, 0.01f);
    auto *dscale = static_cast<float*>(values(2 * h)), *angles = static_cast<float*>(values(2 * t * dim_));
    void* turned = values(t * qkv);
    clear(angles, 4 * t * dim_, stream());
    const NormSize norm{t, h, 1e-5f};
    const SwigluSize mlp{mlp_rows, ffn_};
    const RopeSize turn{t, heads_ + kv_, dim_, qkv, t};
    const AttentionPointers at{queries, k, v, out, sums, dout, sink_, dk, dv};
    const auto normed = [&] {
      add("norm", {4 * t * h, t, h}, [=, this] { rms_norm_forward(norm, x, scale, sink_, stream()); });
    };
    const auto residual = [&] {
      add("add", {6 * t * h, t, h}, [=, this] { gpu::add(x, dy, sink_, t * h, stream()); });
    };
    const auto norm_back = [&] {
      add("norm.backward", {6 * t * h, t, h}, [=, this] {
        rms_norm_backward(norm, {x, scale, dy, sink_, dscale}, stream());
      });
    };
    const auto rotate = [&] {
      add("rope", {4 * t * (heads_ + kv_) * dim_, t, (heads_ + kv_) * dim_},
          [=, this] { rope(turn, angles, angles, turned, stream()); });
    };
    const auto activate = [&] {
      add("swiglu", {6 * mlp_rows * ffn_, mlp_rows, ffn_},
          [=, this] { swiglu_forward(mlp, gate_up, sink_, stream()); });
    };
    const auto activate_back = [&] {
      add("swiglu.backward", {10 * mlp_rows * ffn_, mlp_rows, ffn_},
          [=, this] { swiglu_backward(mlp, gate_up, act, sink_, stream()); });
    };
    normed();
    forward("qkv", qkv, h, x);
    rotate();
    attend(at, false);
    forward("out", h, q, mixed);
    residual(), normed();
    if (experts_ > 0) {
      forward("router", experts_, h, x);
      gather(x, t);
      each_expert(Product::forward, 2 * ffn_, h, routed), activate();
      each_expert(Product::forward, h, ffn_, act);
      gather(routed, mlp_rows), combine(routed);
      residual();
      gather(dy, t);
      each_expert(Product::dgrad, h, ffn_, drouted), each_expert(Product::wgrad, h, ffn_, drouted, act);
      activate_back();
      each_expert(Product::dgrad, 2 * ffn_, h, dgate_up);
      each_expert(Product::wgrad, 2 * ffn_, h, dgate_up, routed);
      gather(drouted, mlp_rows), combine(drouted);
      backward("router", experts_, h, dy, x);
    } else {
      forward("up", 2 * ffn_, h, x), activate();
      forward("down", h, ffn_, act);
      residual();
      backward("down", h, ffn_, dy, act), activate_back();
      backward("up", 2 * ffn_, h, dgate_up, x);
    }
    norm_back(), residual();
    backward("out", h, q, dy, mixed);
    attend(at, true);
    rotate();
    backward("qkv", qkv, h, dpacked, x);
    norm_back(), residual();
    synchronise();
  }
  const std::vector<Step>& steps() const { return steps_; }
  void run() const {
    for (const Step& step : steps_) step.run();
  }

 private:
  Stream stream() const { return bench_.stream; }
  void add(const std::string& name, std::vector<std::int64_t> shape, std::function<void()> run) {
    steps_.push_back({name, std::move(shape), std::move(run)});
  }
  void* values(std::int64_t elements, float scale = 1) {
    Buffer& made = memory_.emplace_back(2 * elements);
    fill_normal(made.data(), elements / 8 * 8, scale, memory_.size(), stream());
    return made.data();
  }
  void product(const char* op, const GemmCall& call, const GemmPointers& at) {
    const auto gemm = std::make_shared<Gemm>(bench_.blas, call);
    add(op, {call.m, call.n, call.k}, [=] { gemm->run(at); });
  }
  void forward(const std::string& name, std::int64_t n, std::int64_t k, const void* x) {
    weights_[name] = values(n * k, 0.02f);
    product("gemm", {Product::forward, tokens_, n, k}, {x, weights_.at(name), sink_});
  }
  void backward(const std::string& name, std::int64_t n, std::int64_t k, const void* dy, const void* x) {
    product("gemm_dgrad", {Product::dgrad, tokens_, n, k}, {dy, weights_.at(name), sink_});
    product("gemm_wgrad_fp32", {Product::wgrad, tokens_, n, k, Into::fp32_sum},
            {dy, x, values(2 * n * k, 0)});
  }
  // Rows of all experts lie side by side. wgrad: left is dy, right is x; else `right` is made here.
  void each_expert(Product product, std::int64_t n, std::int64_t k, const void* left,
                   const void* right = nullptr) {
    const bool wgrad = product == Product::wgrad, dgrad = product == Product::dgrad;
    const auto gemm = std::make_shared<Gemm>(
        bench_.blas, GemmCall{product, rows_, n, k, wgrad ? Into::fp32_sum : Into::bf16});
    void* weights = wgrad ? values(2 * experts_ * n * k, 0) : values(experts_ * n * k, 0.02f);
    const auto at = [](const void* start, std::int64_t element) {
      return static_cast<const std::byte*>(start) + 2 * element;
    };
    const std::int64_t experts = experts_, rows = rows_;
    add(wgrad   ? "looped_gemm_wgrad_fp32"
        : dgrad ? "looped_gemm_dgrad"
                : "looped_gemm",
        {experts, rows, n, k}, [=, this] {
          for (std::int64_t e = 0; e < experts; ++e) {
            const void* l = at(left, e * rows * (product == Product::forward ? k : n));
            if (wgrad)
              gemm->run({l, at(right, e * rows * k), static_cast<float*>(weights) + e * n * k});
            else
              gemm->run({l, at(weights, e * n * k), sink_});
          }
        });
  }
  // Tokens to the rows of their experts, or those rows back into the order of tokens: from so many rows.
  void gather(const void* from, std::int64_t below) {
    const std::int64_t all = experts_ * rows_;
    std::vector<std::int32_t> mixed(static_cast<std::size_t>(all));
    for (std::int64_t i = 0; i < all; ++i)
      mixed[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * 7919 % below);
    auto* index = static_cast<std::int32_t*>(values(2 * all));
    to_device(mixed.data(), index, 4 * all, stream());
    synchronise();
    add("gather", {4 * all * hidden_, all, hidden_}, [=, this] {
      gather_rows({all, hidden_}, index, from, sink_, stream());
    });
  }
  // The rows of a token are added up.
  void combine(const void* rows) {
    for (std::int64_t i = 1; i < experts_ * rows_ / tokens_; ++i) {
      add("add", {6 * tokens_ * hidden_, tokens_, hidden_}, [=, this] {
        const void* of_this = static_cast<const std::byte*>(rows) + 2 * i * tokens_ * hidden_;
        gpu::add(rows, of_this, sink_, tokens_ * hidden_, stream());
      });
    }
  }
  void attend(const AttentionPointers& at, bool back) {
    const auto kernel =
        std::make_shared<AttentionKernel>(*bench_.dnn, AttentionCall{1, heads_, kv_, tokens_, dim_, back});
    add(back ? "cudnn_backward" : "cudnn_forward", {1, heads_, kv_, tokens_, dim_}, [=] { kernel->run(at); });
  }

  Bench& bench_;
  std::int64_t tokens_, hidden_, heads_, kv_, dim_, ffn_, experts_, rows_;
  std::list<Buffer> memory_;
  void* sink_ = nullptr;
  std::map<std::string, void*> weights_;
  std::vector<Step> steps_;
};

void state_into(const Bench& bench, LogRow& row) {
  const GpuState state = bench.watch.now();
  row.clock_mhz = state.clock_mhz, row.power_w = state.power_w, row.heat_c = state.heat_c;
  row.held_down = state.held_down;
}

double rounded_us(double seconds) {
  return std::round(seconds * 1e9) / 1e3;
}

// Whole layers without a pause for `seconds`; the samples are of the last third.
LogRow whole(Bench& bench, const Case& one, const Layer& layer, double seconds) {
  LogRow row{one.op, one.shape, one.use, {}};
  const auto start = std::chrono::steady_clock::now();
  for (double taken = 0; taken < seconds;) {
    constexpr int kLayers = 8;
    std::vector<Event> marks(kLayers + 1);
    marks[0].record(bench.stream);
    for (std::size_t i = 0; i < kLayers; ++i) layer.run(), marks[i + 1].record(bench.stream);
    state_into(bench, row);
    marks.back().wait();
    taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (taken < seconds * 2 / 3) continue;
    for (std::size_t i = 0; i < kLayers; ++i)
      row.us.push_back(rounded_us(marks[i + 1].seconds_since(marks[i])));
  }
  return row;
}

// The same with an event after every operator, a microsecond each.
std::vector<LogRow> inside(Bench& bench, const Layer& layer) {
  constexpr int kLayers = 24;
  const std::vector<Step>& steps = layer.steps();
  std::vector<LogRow> rows;
  for (const Step& step : steps) rows.push_back({"mix." + step.name, step.shape, "check", {}});
  std::vector<std::vector<Event>> marks;
  for (int l = 0; l < kLayers; ++l) {
    std::vector<Event>& of = marks.emplace_back(steps.size() + 1);
    of[0].record(bench.stream);
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i].run(), of[i + 1].record(bench.stream);
  }
  LogRow state;
  state_into(bench, state);
  synchronise();
  for (std::size_t l = kLayers / 4; l < marks.size(); ++l) {
    for (std::size_t i = 0; i < steps.size(); ++i)
      rows[i].us.push_back(rounded_us(marks[l][i + 1].seconds_since(marks[l][i])));
  }
  for (LogRow& row : rows)
    row.clock_mhz = state.clock_mhz, row.power_w = state.power_w, row.heat_c = state.heat_c;
  return rows;
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const Layer layer(bench, one.shape);
  constexpr double kSeconds = 3.5;
  std::vector<LogRow> rows = {whole(bench, one, layer, kSeconds)};
  for (LogRow& row : inside(bench, layer)) rows.push_back(std::move(row));
  for (const Step& step : layer.steps()) {
    rows.push_back(burst(bench, {"alone." + step.name, step.shape, "check"}, {.warm = kHot},
                         [&](std::int64_t) { step.run(); }));
  }
  return rows;
}

}  // namespace

const Probe kLayer = {"layer", {"layer", "moe_layer"}, false, cases, measure};

}  // namespace tw::gpu
