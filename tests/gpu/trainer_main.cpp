// The engine of train/device against the CPU trainer: losses and gradients of layouts, and loss curves.
// mpirun -n RANKS gpu_trainer_test [--json FILE] [--curves FILE] [--verbose] [MODEL LAYOUT ...]
// gpu_trainer_test --write-curves FILE: losses of 50 steps on the CPU, which --curves compares with.
//
// Tolerances. The oracle is one rank of the CPU trainer in double. The same trainer in bf16, which stores
// what the GPU stores and adds up in fp32, says what rounding does to each gradient: a tensor of the GPU may
// be kTimes as far from the oracle, since a layout rounds partial sums once more for each part and cuDNN
// rounds probabilities that the CPU keeps in fp32. kFloor, one rounding of bf16, is for tensors whose error
// on the CPU is smaller than that by luck. Losses of later steps and of whole curves: in the same way.
#include <cmath>
#include <cstdio>
#include <map>

#include "kernels/backend/gpu/device.hpp"
#include "tests/mpi/support.hpp"
#include "tests/support/counts.hpp"
#include "topology/json.hpp"
#include "train/device/engine.hpp"

namespace tw::train {
namespace {

constexpr double kTimes = 3, kFloor = 0x1p-8;
constexpr int kSteps = 3, kCurve = 50;
const char* const kModels[] = {"dense", "tied", "moe", "shared"};

struct DeviceCase {
  std::string model, layout;
  std::int32_t ranks = 1;
};

// Widths that the GPU's kernels take; otherwise as small_model.
Model device_model(const std::string& name) {
  Model model;
  model.name = name, model.family = "llama";
  model.hidden = 128, model.vocab = 250;
  model.tied_embeddings = name.starts_with("tied");
  LayerKind dense;
  dense.attention = {.heads = 4, .kv_heads = 2, .head_dim = 64, .value_dim = 64};
  dense.mlp = Mlp{.ffn = 256};
  LayerKind routed = dense;
  routed.mlp.reset();
  routed.moe = Moe{.experts = 8, .top_k = 2, .ffn = 64};
  if (name == "shared") {
    dense.attention.qk_norm = routed.attention.qk_norm = QkNorm::head;
    routed.moe->shared_ffn = 64;
  }
  for (int i = 0; i < 4; ++i)
    add_layer(model, (name == "moe" || (name == "shared" && i > 0)) ? routed : dense);
  return model;
}

ProgramInput input_of(const DeviceCase& one) {
  ProgramInput input;
  input.layout = parse_layout(one.layout, one.ranks);
  input.model = device_model(one.model);
  input.profile = load_profile("trainwright");
  input.profile.kernels.vocab_multiple = 16;
  input.job.gpus = one.ranks, input.job.global_batch = 8, input.job.seq = 128;
  return input;
}

Settings device_settings(const std::string& model) {
  Settings settings;
  settings.initial_deviation = 0.08, settings.learning_rate = 1e-3;
  settings.balance = model == "moe" ? 0.01 : 0;
  return settings;
}

// Losses of all steps; gradients of the first ones.
template <class E>
Trace traced(const Program& program, const View& view, E& engine, int steps) {
  Trace out = trace_of(program, view, engine, kSteps);
  Recorder recorder;
  Trainer<E> trainer(view, engine, recorder);
  for (int i = kSteps; i < steps; ++i) {
    trainer.step();
    out.losses.push_back(engine.losses().total());
  }
  return out;
}

// Runs on one rank of the CPU, by this rank alone.
template <class T>
Trace on_cpu(const std::string& model, Messages& messages, int steps) {
  const Program program(input_of({model, "dp=1", 1}));
  const View view(program, Rank(0));
  const Settings settings = device_settings(model);
  const Data data = Data::pattern(settings.seed, program.input().model.vocab);
  TensorEngine<T> engine(view, messages, settings, data);
  return traced(program, view, engine, steps);
}

Trace on_device(const DeviceCase& one, Messages& messages, int steps) {
  const Program program(input_of(one));
  const View view(program, messages.self());
  const Settings settings = device_settings(one.model);
  const Data data = Data::pattern(settings.seed, program.input().model.vocab);
  DeviceEngine engine(view, messages, settings, data, true);
  return traced(program, view, engine, steps);
}

// || a - b || / || a ||; infinite where b has what is no number.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, whole = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference += (a[i] - b[i]) * (a[i] - b[i]), whole += a[i] * a[i];
  if (!std::isfinite(difference)) return INFINITY;
  return whole > 0 ? std::sqrt(difference / whole) : difference > 0 ? INFINITY : 0;
}

double farthest(const std::vector<double>& a, const std::vector<double>& b) {
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    out = std::max(out, std::isfinite(b[i]) ? std::abs(a[i] - b[i]) : INFINITY);
  return out;
}

// Of both CPU runs, by model.
struct Curves {
  std::vector<double> exact, rounded;
};
using AllCurves = std::map<std::string, Curves>;

AllCurves load_curves(const std::string& path) {
  AllCurves out;
  const JsonView file = load_json(path);
  const auto numbers = [](const JsonView& list) {
    std::vector<double> all;
    for (std::size_t i = 0; i < list.size(); ++i) all.push_back(list[i].number());
    return all;
  };
  for (const char* model : kModels)
    out[model] = {numbers(file.at(model).at("exact")), numbers(file.at(model).at("rounded"))};
  return out;
}

Json list_of(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double value : values) out.push(value);
  return out;
}

void write_curves(const std::string& path, Messages& messages) {
  Json out = Json::object();
  for (const char* model : kModels)
    out.set(model, Json::object()
                       .set("exact", list_of(on_cpu<double>(model, messages, kCurve).losses))
                       .set("rounded", list_of(on_cpu<bf16>(model, messages, kCurve).losses)));
  write_file(path, out.dump() + "\n");
}

struct Reference {
  Trace exact, rounded;
};

class Comparison {
 public:
  Comparison(Messages& messages, AllCurves curves) : messages_(messages), curves_(std::move(curves)) {}

  void compare(const DeviceCase& one) {
    const Trace got = on_device(one, messages_, curves_.empty() ? kSteps : kCurve);
    if (messages_.self() == Rank(0)) judge(one, got);
  }

  int report(const std::string& path) const {
    if (messages_.self() != Rank(0)) return 0;
    std::printf("%d models and layouts, %d wrong; farthest gradient at %.2f of its tolerance: %s\n", count_,
                wrong_, worst_, where_.c_str());
    if (!path.empty()) write_file(path, rows_.dump() + "\n");
    return report_counts(count_ - wrong_, wrong_);
  }

  bool verbose = false;

 private:
  const Reference& reference(const std::string& model) {
    const auto [found, made] = references_.try_emplace(model);
    Reference& out = found->second;
    if (!made) return out;
    out.exact = on_cpu<double>(model, messages_, kSteps);
    out.rounded = on_cpu<bf16>(model, messages_, kSteps);
    return out;
  }

  void judge(const DeviceCase& one, const Trace& got) {
    const Reference& r = reference(one.model);
    Json tensors = Json::array();
    double worst = 0;
    std::string where;
    for (std::size_t w = 0; w < r.exact.names.size(); ++w) {
      const double own = apart(r.exact.gradients[0][w], got.gradients[0][w]);
      const double rounded = apart(r.exact.gradients[0][w], r.rounded.gradients[0][w]);
      const double limit = kTimes * std::max(rounded, kFloor), share = own / limit;
      if (!(worst >= share)) worst = share, where = r.exact.names[w];
      tensors.push(Json::object().set("tensor", r.exact.names[w]).set("error", own).set("tolerance", limit));
    }
    const std::vector<double> first(got.losses.begin(), got.losses.begin() + kSteps);
    const double losses = farthest(r.exact.losses, first);
    const double loss_limit = kTimes * std::max(farthest(r.exact.losses, r.rounded.losses), kFloor);
    const bool curved = !curves_.empty();
    const Curves none, &curve = curved ? curves_.at(one.model) : none;
    const double curves = curved ? farthest(curve.exact, got.losses) : 0;
    const double curve_limit = kTimes * std::max(curved ? farthest(curve.exact, curve.rounded) : 0.0, kFloor);
    const bool good = worst <= 1 && losses <= loss_limit && curves <= curve_limit;
    ++count_, wrong_ += good ? 0 : 1;
    if (!(worst_ >= worst)) worst_ = worst, where_ = one.model + " " + one.layout + ", " + where;
    if (!good || verbose) {
      std::printf(
          "%s%s %s on %d: gradients %.2f of their tolerance (%s), losses %.1e of %.1e, curve %.1e of %.1e\n",
          good ? "" : "WRONG ", one.model.c_str(), one.layout.c_str(), one.ranks, worst, where.c_str(),
          losses, loss_limit, curves, curve_limit);
      std::fflush(stdout);
    }
    Json row = Json::object().set("model", one.model).set("layout", one.layout).set("ranks", one.ranks);
    row.set("good", good)
        .set("loss_error", losses)
        .set("loss_tolerance", loss_limit)
        .set("gradients", tensors);
    if (curved)
      row.set("curve_error", curves).set("curve_tolerance", curve_limit).set("curve", list_of(got.losses));
    rows_.push(row);
  }

  Messages& messages_;
  AllCurves curves_;
  int count_ = 0, wrong_ = 0;
  double worst_ = 0;
  std::string where_;
  Json rows_ = Json::array();
  std::map<std::string, Reference> references_;
};

std::vector<DeviceCase> suite_for(std::int32_t ranks) {
  const std::vector<std::string> one = {"dp=1,mb=1", "dp=1,mb=4", "dp=1,mb=2,recompute=full",
                                        "dp=1,mb=2,recompute=selective"};
  const std::vector<std::string> two = {"dp=2,mb=2",
                                        "dp=2,zero=1,mb=2",
                                        "dp=2,zero=2,mb=2",
                                        "dp=2,zero=3,mb=2",
                                        "dp=2,zero=3,mb=1,recompute=full",
                                        "tp=2,sp=0,mb=2",
                                        "tp=2,sp=1,mb=2",
                                        "tp=2,sp=1,mb=4,recompute=selective",
                                        "pp=2,mb=1",
                                        "pp=2,mb=2,schedule=gpipe",
                                        "pp=2,vpp=2,mb=1,schedule=interleaved",
                                        "pp=2,mb=1,schedule=zb-h1",
                                        "pp=2,vpp=2,mb=1,schedule=zb-v",
                                        "cp=2,cp_kind=a2a,mb=1",
                                        "cp=2,cp_kind=a2a,mb=2",
                                        "cp=2,cp_kind=ring,mb=1",
                                        "cp=2,cp_kind=ring,zero=1,mb=2",
                                        "cp=2,mb=1",
                                        "cp=2,zero=3,mb=2",
                                        "cp=2,mb=2,recompute=full",
                                        "cp=2,mb=4,recompute=selective"};
  const std::vector<std::string> two_routed = {"dp=2,ep=2,mb=2",
                                               "dp=2,ep=2,zero=1,mb=2",
                                               "dp=2,ep=2,zero=3,mb=1",
                                               "tp=2,sp=1,ep=2,mb=2",
                                               "cp=2,cp_kind=a2a,ep=2",
                                               "cp=2,ep=2,mb=2",
                                               "dp=2,ep=2,mb=1,recompute=full",
                                               "dp=2,ep=2,mb=2,recompute=moe_act",
                                               "dp=2,etp=2,mb=2",
                                               "dp=2,etp=2,zero=3,mb=1,recompute=full",
                                               "tp=2,sp=1,etp=2,mb=2",
                                               "tp=2,sp=0,etp=2,mb=4,recompute=moe_act",
                                               "cp=2,etp=2,mb=2"};
  const std::vector<std::string> four = {"dp=2,tp=2,sp=1,mb=2,zero=3",
                                         "dp=2,tp=2,sp=0,mb=2,zero=1",
                                         "tp=2,sp=1,pp=2,mb=1",
                                         "dp=2,pp=2,mb=1,zero=2",
                                         "dp=4,hsdp=2,zero=3,mb=1",
                                         "tp=4,sp=1,mb=2",
                                         "pp=4,mb=1",
                                         "dp=2,cp=2,cp_kind=a2a,mb=2,zero=3",
                                         "cp=4,mb=2",
                                         "cp=4,cp_kind=ring,mb=2",
                                         "cp=2,tp=2,sp=1,mb=2",
                                         "cp=2,pp=2,mb=1",
                                         "pp=2,tp=2,sp=1,vpp=2,mb=1,schedule=interleaved",
                                         "pp=4,mb=1,schedule=dualpipe"};
  const std::vector<std::string> four_routed = {"dp=4,ep=4,mb=1",
                                                "dp=2,tp=2,sp=1,ep=2,mb=2,zero=1",
                                                "dp=2,pp=2,ep=2,mb=1",
                                                "dp=4,ep=2,etp=2,zero=3,mb=1",
                                                "dp=2,tp=2,sp=1,ep=2,etp=2,mb=2",
                                                "dp=2,cp=2,ep=2,etp=2,mb=1,recompute=full"};
  std::vector<DeviceCase> out;
  const auto add = [&](const std::vector<std::string>& models, const std::vector<std::string>& layouts) {
    for (const std::string& model : models) {
      for (const std::string& layout : layouts) {
        const DeviceCase each{model, layout, ranks};
        const ProgramInput input = input_of(each);
        Job job = input.job;
        job.model = &input.model;
        const std::string why = illegal_because(input.layout, job);
        if (!why.empty()) std::printf("not legal: %s %s: %s\n", model.c_str(), layout.c_str(), why.c_str());
        if (why.empty()) out.push_back(each);
      }
    }
  };
  const std::vector<std::string> all = {"dense", "tied", "moe", "shared"};
  if (ranks == 1) add(all, one);
  if (ranks == 2) add(all, two), add({"moe", "shared"}, two_routed);
  if (ranks == 4) add({"dense", "tied", "shared"}, four), add({"moe", "shared"}, four_routed);
  return out;
}

int run_all(int argc, char** argv) {
  const cpu::MpiProcess process(argc, argv);
  try {
    std::string json, curves, written;
    bool verbose = false;
    std::vector<DeviceCase> cases;
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--json" && i + 1 < argc)
        json = argv[++i];
      else if (word == "--curves" && i + 1 < argc)
        curves = argv[++i];
      else if (word == "--write-curves" && i + 1 < argc)
        written = argv[++i];
      else if (word == "--verbose")
        verbose = true;
      else if (i + 1 < argc)
        cases.push_back({word, argv[++i], process.size()});
    }
    const std::unique_ptr<Messages> messages = cpu::mpi_messages();
    if (!written.empty()) return write_curves(written, *messages), 0;
    if (gpu::device_count() == 0) {
      std::printf("no GPU: nothing is tested\n");
      return 0;
    }
    gpu::use_device(process.rank().value() % gpu::device_count());
    Comparison comparison(*messages, curves.empty() ? AllCurves{} : load_curves(curves));
    comparison.verbose = verbose || !cases.empty();
    if (cases.empty()) cases = suite_for(process.size());
    for (const DeviceCase& one : cases) comparison.compare(one);
    process.barrier();
    return comparison.report(json);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", process.rank().value(), error.what());
    cpu::MpiProcess::abort(1);
  }
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::run_all(argc, argv);
}
