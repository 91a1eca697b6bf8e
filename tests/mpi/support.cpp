#include "tests/mpi/support.hpp"

#include "tests/mpi/passing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>

namespace tw::train {

int on_all_ranks(int argc, char** argv, int (*run)(const cpu::MpiProcess&)) {
  const cpu::MpiProcess process(argc, argv);
  try {
    return run(process);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", process.rank().value(), error.what());
    cpu::MpiProcess::abort(1);
  }
}

Model small_model(std::string_view name, std::int32_t layers) {
  Model model;
  model.name = std::string(name), model.family = "llama";
  model.hidden = 16, model.vocab = name.ends_with("padded") ? 64 : 60;
  model.tied_embeddings = name.starts_with("tied");
  LayerKind dense;
  dense.attention = {.heads = 8, .kv_heads = 2, .head_dim = 4, .value_dim = 4};
  dense.mlp = Mlp{.ffn = 24};
  LayerKind routed = dense;
  routed.mlp.reset();
  routed.moe = Moe{.experts = 8, .top_k = 2, .ffn = 8};
  if (name == "shared") {
    dense.attention.qk_norm = routed.attention.qk_norm = QkNorm::head;
    dense.attention.kv_heads = routed.attention.kv_heads = 4;
    routed.moe->shared_ffn = 8;
  }
  const bool moe = name == "moe" || name == "shared" || name == "tied_moe";
  for (std::int32_t i = 0; i < layers; ++i)
    add_layer(model, moe && (name == "moe" || i > 0) ? routed : dense);
  return model;
}

ProgramInput input_of(const Case& one) {
  ProgramInput input;
  input.layout = parse_layout(one.layout, one.ranks);
  const std::int32_t layers = input.layout.vpp > 1 || input.layout.pp > 5 ? 8 : 5;
  input.model = small_model(one.model, one.layers > 0 ? one.layers : layers);
  input.profile = load_profile("trainwright");
  input.profile.kernels.loss = LossKernel::whole;  // as on CPUs
  // 60 entries on 8 ranks: the last has four, not eight. Padded: the first rank has all 64, the others none.
  input.profile.kernels.vocab_multiple = one.model.ends_with("padded") ? 64 : 4;
  input.job.gpus = one.ranks, input.job.global_batch = one.batch, input.job.seq = one.seq;
  return input;
}

Settings test_settings() {
  Settings settings;
  settings.initial_deviation = 0.2;
  settings.balance = 0.1;
  settings.learning_rate = 1e-2;
  return settings;
}

Settings settings_of(const Case& one) {
  Settings settings = test_settings();
  settings.balance_pooled = one.pooled;
  return settings;
}

Trace run_case(const Case& one, Messages& messages, int steps) {
  const Program program(input_of(one));
  const View view(program, messages.self());
  const Settings settings = settings_of(one);
  const Data data = Data::pattern(settings.seed, program.input().model.vocab);
  TensorEngine<double> engine(view, messages, settings, data);
  Watched watched(engine, view);
  Trace out = trace_of(program, view, watched, steps);
  double wrong = watched.in_order() ? 0 : 1;
  messages.all_reduce(view.world(), &wrong, 1);
  out.in_order = wrong == 0;
  return out;
}

Difference difference(const Trace& expected, const Trace& got) {
  Difference out;
  const auto relative = [](double a, double b) { return std::abs(a - b) / std::abs(a); };
  const auto worse = [](double a, double b) { return !(a >= b); };  // a NaN is worse than anything
  for (std::size_t step = 0; step < expected.norms.size(); ++step) {
    const double norm = relative(expected.norms[step], got.norms[step]);
    if (worse(out.gradient, norm)) out.gradient = norm, out.where = "step " + std::to_string(step) + " norm";
  }
  for (std::size_t step = 0; step < expected.losses.size(); ++step) {
    const double loss = relative(expected.losses[step], got.losses[step]);
    if (worse(out.loss, loss)) out.loss = loss;
    for (std::size_t w = 0; w < expected.names.size(); ++w) {
      const std::vector<double>&a = expected.gradients[step][w], &b = got.gradients[step][w];
      double largest = 0, apart = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, std::abs(a[i]));
        if (worse(apart, std::abs(a[i] - b[i]))) apart = std::abs(a[i] - b[i]);
      }
      if (!worse(out.gradient, apart / largest)) continue;
      out.gradient = apart / largest;
      out.where = "step " + std::to_string(step) + " " + expected.names[w];
    }
  }
  return out;
}

}  // namespace tw::train
