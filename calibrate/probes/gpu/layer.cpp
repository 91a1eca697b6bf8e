// One transformer layer, forward and backward, again and again for seconds: the whole layer's time (layer),
// each operator's time inside it (mix.NAME) and alone in a burst (alone.NAME), with clock and power. Shape of
// a layer: tokens, hidden, heads, heads of keys and values, head size, width of the MLP (sequence = tokens);
// of a routed one (moe_layer) that width is an expert's, then experts and the rows of each: grouped products
// (experts, rows, n, k) and what brings rows to them and back, as the trainer runs them on one rank.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <list>
#include <map>

#include "calibrate/probes/gpu/probe.hpp"
#include "kernels/backend/gpu/attention.hpp"
#include "kernels/grouped_ops.hpp"
#include "kernels/routing_ops.hpp"

namespace tw::gpu {
namespace {

std::vector<Case> cases(const Launch&) {
  return {{"layer", {8192, 4096, 32, 8, 128, 14336}, "check"},
          {"layer", {4096, 8192, 16, 2, 128, 7168}, "check"},
          {"layer", {4096, 2048, 32, 4, 128, 6144}, "check"},
          {"moe_layer", {8192, 4096, 32, 8, 128, 14336, 8, 2048}, "check"},  // mixtral-8x7b
          {"moe_layer", {8192, 2048, 32, 4, 128, 768, 16, 4096}, "check"},   // qwen3-30b-a3b, ep 8
          {"moe_layer", {8192, 2048, 32, 4, 128, 768, 128, 512}, "check"}};  // the same on one rank
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
      const Routes routes = routed_by(x);
      spread(x, routes);
      up_and_activation(routed, routes);
      experts(Product::forward, h, ffn_, act, routes);
      sum(routed, routes);
      residual();
      spread(dy, routes);
      experts(Product::dgrad, h, ffn_, drouted, routes);
      experts(Product::wgrad, h, ffn_, drouted, routes, act);
      routed_activation_back(gate_up, act, routes);
      experts(Product::dgrad, 2 * ffn_, h, dgate_up, routes);
      experts(Product::wgrad, 2 * ffn_, h, dgate_up, routes, routed);
      sum(drouted, routes);
      route_back(routes);
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
  // Routes of all tokens: every expert has as many, and a token's go to different ones.
  struct Routes {
    RouterSize size;
    RouterChoice choice;  // what the router chooses
    RouteOrder order;
    float* gradients;  // of the sorted rows' factors
    GroupedRows rows;
  };
  Routes routed_by(const void* x) {
    forward("router", experts_, hidden_, x);
    const std::int64_t top_k = experts_ * rows_ / tokens_, all = experts_ * rows_;
    const auto made = [&](std::int64_t count) { return values(2 * count); };  // of 4 bytes
    const auto ints = [&](std::int64_t count) { return static_cast<std::int32_t*>(made(count)); };
    const auto floats = [&](std::int64_t count) { return static_cast<float*>(made(count)); };
    Routes r{{tokens_, experts_, top_k, true},
             {floats(tokens_ * experts_), ints(all), floats(all)},
             {static_cast<std::int64_t*>(made(2 * experts_)), ints(all), floats(all)},
             floats(all),
             {}};
    r.rows = {r.order.counts, experts_, experts_, all};
    std::vector<std::int32_t> alike(static_cast<std::size_t>(all));
    for (std::int64_t i = 0; i < all; ++i)
      alike[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((i / top_k * 7 + i % top_k) % experts_);
    std::int32_t* chosen = ints(all);
    to_device(alike.data(), chosen, 4 * all, stream());
    const RouterChoice even{r.choice.probabilities, chosen, r.choice.weights};
    const void* logits = values(tokens_ * experts_);
    add("router", {tokens_ * experts_ * 6 + 8 * all, tokens_, experts_},
        [=, this] { router_forward(r.size, logits, r.choice, stream()); });
    add("order_routes", {20 * all, all, experts_},
        [=, this] { order_routes(r.size, even, r.order, stream()); });
    router_forward(r.size, logits, r.choice, stream());  // later operators read both from the start
    order_routes(r.size, even, r.order, stream());
    synchronise();
    return r;
  }
  void route_back(const Routes& r) {
    float* dweights = static_cast<float*>(values(2 * r.rows.total));
    add("gather_fp32", {12 * r.rows.total, r.rows.total, 1},
        [=, this] { gather_fp32(r.rows.total, r.order.place, r.gradients, dweights, stream()); });
    add("router.backward", {tokens_ * experts_ * 6 + 12 * r.rows.total, tokens_, experts_}, [=, this] {
      router_backward(r.size, r.choice, dweights, {nullptr, 0, nullptr}, sink_, stream());
    });
  }
  void up_and_activation(const void* x, const Routes& r) {
    void* weights = values(experts_ * 2 * ffn_ * hidden_, 0.02f);
    void* gate_up = values(2 * r.rows.total * ffn_);
    add("grouped_swiglu", {experts_, rows_, 2 * ffn_, hidden_}, [=, this] {
      grouped_swiglu({ffn_, hidden_}, r.rows, x, weights, {r.order.factor, gate_up, sink_}, stream());
    });
  }
  void routed_activation_back(const void* gate_up, const void* dact, const Routes& r) {
    add("swiglu.backward", {10 * r.rows.total * ffn_, r.rows.total, ffn_}, [=, this] {
      routed_swiglu_backward({r.rows.total, ffn_}, {gate_up, dact, r.order.factor, sink_, r.gradients},
                             stream());
    });
  }
  // wgrad: left is dy, right is x; else `right` is made here.
  void experts(Product product, std::int64_t n, std::int64_t k, const void* left, const Routes& r,
               const void* right = nullptr) {
    const bool wgrad = product == Product::wgrad, dgrad = product == Product::dgrad;
    void* weights = wgrad ? values(2 * experts_ * n * k, 0) : values(experts_ * n * k, 0.02f);
    const GroupedShape shape{n, k};
    add(wgrad   ? "grouped_gemm_wgrad_fp32"
        : dgrad ? "grouped_gemm_dgrad"
                : "grouped_gemm",
        {experts_, rows_, n, k}, [=, this] {
          if (wgrad) return grouped_wgrad(shape, r.rows, left, right, static_cast<float*>(weights), stream());
          dgrad ? grouped_dgrad(shape, r.rows, left, weights, sink_, stream())
                : grouped_forward(shape, r.rows, left, weights, sink_, stream());
        });
  }
  void spread(const void* from, const Routes& r) {
    add("spread_rows", {2 * (r.rows.total + tokens_) * hidden_, tokens_, hidden_}, [=, this] {
      spread_rows({tokens_, r.size.top_k, hidden_}, r.order.place, from, sink_, stream());
    });
  }
  void sum(const void* rows, const Routes& r) {
    add("sum_routes", {2 * (r.rows.total + tokens_) * hidden_, tokens_, hidden_}, [=, this] {
      sum_routes({tokens_, r.size.top_k, hidden_}, r.order.place, rows, sink_, stream());
    });
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
