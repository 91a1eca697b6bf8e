// The engine of train/device against the CPU trainer: losses and gradients of layouts, loss curves, and runs
// that are saved and resumed.
// mpirun -n RANKS gpu_trainer_test [--json FILE] [--curves FILE] [--verbose] [MODEL LAYOUT ...]
// LAYOUT may be FROM->TO, of a run that is saved and resumed; left out: the suite for so many ranks.
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
#include "tests/gpu/resumed.hpp"
#include "tests/support/counts.hpp"
#include "topology/json.hpp"
#include "train/device/engine.hpp"

namespace tw::train {
namespace {

constexpr int kSteps = 3, kCurve = 50;
const char* const kModels[] = {"dense", "tied", "moe", "shared"};

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
  const Program program(device_input({model, "dp=1", 1}));
  const View view(program, Rank(0));
  const Settings settings = device_settings(model);
  const Data data = Data::pattern(settings.seed, program.input().model.vocab);
  TensorEngine<T> engine(view, messages, settings, data);
  return traced(program, view, engine, steps);
}

Trace on_device(const DeviceCase& one, Messages& messages, int steps) {
  const Program program(device_input(one));
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

  int report(const std::string& path, const Resumed& resumed) const {
    if (messages_.self() != Rank(0)) return 0;
    std::printf("%d runs resumed, %d wrong\n", resumed.count(), resumed.wrong());
    std::printf("%d models and layouts, %d wrong; farthest gradient at %.2f of its tolerance: %s\n", count_,
                wrong_, worst_, where_.c_str());
    if (!path.empty()) write_file(path, rows_.dump() + "\n");
    const int wrong = wrong_ + resumed.wrong();
    return report_counts(count_ + resumed.count() - wrong, wrong);
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

void add_case(const std::string& model, const std::string& layout, std::int32_t ranks,
              std::vector<DeviceCase>& cases, std::vector<ResumedCase>& resumes) {
  const std::size_t arrow = layout.find("->");
  if (arrow == std::string::npos) return cases.push_back({model, layout, ranks});
  resumes.push_back({model, layout.substr(0, arrow), layout.substr(arrow + 2), ranks});
}

int run_all(int argc, char** argv) {
  const cpu::MpiProcess process(argc, argv);
  try {
    std::string json, curves, written;
    bool verbose = false;
    std::vector<DeviceCase> cases;
    std::vector<ResumedCase> resumes;
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
        add_case(word, argv[++i], process.size(), cases, resumes);
    }
    const std::unique_ptr<Messages> messages = cpu::mpi_messages();
    if (!written.empty()) return write_curves(written, *messages), 0;
    if (gpu::device_count() == 0) {
      std::printf("no GPU: nothing is tested\n");
      return 0;
    }
    gpu::use_device(process.rank().value() % gpu::device_count());
    Comparison comparison(*messages, curves.empty() ? AllCurves{} : load_curves(curves));
    Resumed resumed(process, *messages);
    const bool all = cases.empty() && resumes.empty();
    comparison.verbose = resumed.verbose = verbose || !all;
    if (all) cases = suite_for(process.size()), resumes = resumed_suite_for(process.size());
    for (const DeviceCase& one : cases) comparison.compare(one);
    for (const ResumedCase& one : resumes) resumed.compare(one);
    process.barrier();
    return comparison.report(json, resumed);
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
