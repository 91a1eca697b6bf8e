// Bytes that a run really holds against those that the Program says: the peak of values and states on
// every rank equals the footprint's, in the formats of the profile (bf16 with sums in fp32). Experts are
// dealt out in turn, so that every rank has as many routed rows as the mean. Every allocation of the
// process is counted too: what an operation needs for a moment, and what is kept beside values and states.
// Where the router chooses, the peak is at most as much above the footprint as the busiest rank's rows are
// above the mean: other values do not change. And every step speaks with the ranks that the Program says.
// mpirun -n RANKS bytes [MODEL LAYOUT ...]
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "costmodel/program/footprint.hpp"
#include "tests/mpi/layouts.hpp"
#include "tests/mpi/listening.hpp"
#include "tests/support/counts.hpp"

namespace {
std::int64_t heap_now = 0, heap_peak = 0;

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  heap_now += static_cast<std::int64_t>(malloc_usable_size(memory));
  heap_peak = std::max(heap_peak, heap_now);
  return memory;
}
void uncounted(void* memory) {
  heap_now -= static_cast<std::int64_t>(malloc_usable_size(memory));
  std::free(memory);
}
}  // namespace

void* operator new(std::size_t bytes) {
  return counted(std::malloc(bytes));
}
void operator delete(void* memory) noexcept {
  uncounted(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  uncounted(memory);
}

namespace tw::train {
namespace {

// A tensor engine that deals experts out in turn, and looks at the heap around every operation.
class CountingEngine {
 public:
  using Inner = TensorEngine<bf16>;
  using Value = Inner::Value;
  using Call = Inner::Call;
  CountingEngine(const View& view, Messages& messages, const Data& data, bool balanced)
      : balanced_(balanced),
        view_(view),
        heard_(messages),
        expected_(view),
        inner_(view, heard_, test_settings(), data) {}

  void begin_step() { inner_.begin_step(); }
  void end_step() { inner_.end_step(); }
  void op(const Step& step, Call& call) {
    heard_.clear(), heap_peak = heap_now;
    inner_.op(step, call);
    moment = std::max(moment, heap_peak - heap_now);
    listen(step);
    for (std::size_t i = 0; i < call.writes.size(); ++i) {
      const tw::Value& mean = call.value(call.io.writes[i]);
      if (mean.routed) skew = std::max(skew, static_cast<double>(call.writes[i]->rows) / mean.rows);
    }
    if (balanced_ && call.io.what == Operator::choose && !call.backward()) deal(*call.writes[0]);
  }
  void act(const Step& step) { heard_.clear(), inner_.act(step), listen(step); }
  void send(const Step& step, const Value& value, std::int32_t boundary) {
    heard_.clear(), inner_.send(step, value, boundary), listen(step);
  }
  Value receive(const Step& step, std::int32_t boundary) {
    heard_.clear();
    Value value = inner_.receive(step, boundary);
    return listen(step), value;
  }
  void forget(std::int32_t unit, std::int32_t microbatch) { inner_.forget(unit, microbatch); }
  std::int64_t state_bytes() const { return inner_.state_bytes(); }

  std::int64_t moment = 0;             // most bytes of one operation that are gone when it ends
  double skew = 0;                     // most routed rows of a value over their mean
  std::int64_t steps = 0, astray = 0;  // all; those that spoke with others than the Program says
  std::string first_astray;

 private:
  void listen(const Step& step) {
    ++steps;
    if (expected_.met(step, heard_)) return;
    if (astray++ == 0) first_astray = to_string(step, view_.units());
  }
  static void deal(Tensor<bf16>& choice) {
    const auto experts = static_cast<std::int32_t>(choice.width);
    std::int32_t next = 0;
    for (std::int32_t& expert : choice.experts) expert = std::exchange(next, (next + 1) % experts);
  }
  bool balanced_;
  const View& view_;
  Listening heard_;
  Expected expected_;
  Inner inner_;
};

struct Counted {
  std::int64_t peak = 0, said = 0, left = 0, moment = 0, beside = 0;
  double skew = 0;
  std::int64_t steps = 0, astray = 0;
  std::string first_astray;
};

// Models of support.hpp, wide enough that a tensor is larger than what is written down about it.
ProgramInput wide_input(const Case& one) {
  ProgramInput input = input_of(one);
  input.model.hidden = 64;
  for (LayerKind& kind : input.model.kinds) {
    kind.attention.head_dim = kind.attention.value_dim = 16;
    if (kind.mlp) kind.mlp->ffn = 96;
    if (kind.moe) kind.moe->ffn = 32, kind.moe->shared_ffn *= 4;
  }
  return input;
}

Counted count(const Case& one, Messages& messages, bool balanced) {
  const Program program(wide_input(one));
  const View view(program, messages.self());
  const Data data = Data::pattern(1, program.input().model.vocab);
  CountingEngine engine(view, messages, data, balanced);
  Recorder recorder;
  Trainer<CountingEngine> trainer(view, engine, recorder);
  const std::int64_t before = heap_now, states = engine.state_bytes();
  for (int step = 0; step < 2; ++step) trainer.step();
  Counted out;
  out.peak = recorder.peak_bytes();
  out.said = footprint(program, messages.self()).peak;
  out.left = recorder.live_bytes() + recorder.state_bytes() - states;
  out.moment = engine.moment;
  out.skew = engine.skew;
  out.beside = heap_now - before;
  out.steps = engine.steps, out.astray = engine.astray, out.first_astray = engine.first_astray;
  return out;
}

class Suite {
 public:
  Suite(Messages& messages, std::int32_t ranks) : messages_(messages), ranks_(ranks) {}

  void check(const Case& one) {
    if (messages_.self().value() >= one.ranks) return;
    const Counted c = count(one, messages_, true);
    bool wrong = c.peak != c.said || c.left != 0 || c.astray > 0;
    steps_ += c.steps;
    if (input_of(one).model.has_moe()) {  // on every rank: those without experts take part
      const Counted chosen = count(one, messages_, false);
      const double over = static_cast<double>(chosen.peak) / static_cast<double>(chosen.said);
      wrong = wrong || c.skew > 1 || over > std::max(chosen.skew, 1.0);
      routed_ = std::max(routed_, over - 1), skew_ = std::max(skew_, chosen.skew);
    }
    double any[] = {wrong ? 1.0 : 0.0};
    std::vector<Rank> world;
    for (std::int32_t i = 0; i < one.ranks; ++i) world.push_back(Rank(i));
    messages_.all_reduce(world, any, 1);
    ++layouts_, wrong_ += any[0] > 0 ? 1 : 0;
    if (wrong || verbose)
      std::printf("rank %d %s %s: held %ld, said %ld, left %ld; astray %ld of %ld steps %s\n",
                  messages_.self().value(), std::string(one.model).c_str(), one.layout.c_str(), c.peak,
                  c.said, c.left, c.astray, c.steps, c.first_astray.c_str());
    moment_ = std::max(moment_, static_cast<double>(c.moment) / static_cast<double>(c.peak));
    beside_ = std::max(beside_, static_cast<double>(c.beside) / static_cast<double>(c.peak));
  }

  int report() const {
    if (messages_.self() != Rank(0)) return 0;
    std::printf("%d layouts on up to %d ranks, %d wrong: held is said, to the byte\n", layouts_, ranks_,
                wrong_);
    std::printf("%ld steps of the first rank each spoke with the ranks that the Program says\n", steps_);
    std::printf(
        "of the peak on top: in one operation for a moment %.1f %%, written down at the end %.2f %%\n",
        100 * moment_, 100 * beside_);
    std::printf("where the router chooses: %.1f %%, its busiest rank of experts has %.2f times the mean\n",
                100 * routed_, skew_);
    return report_counts(layouts_ - wrong_, wrong_);
  }
  bool verbose = false;

 private:
  Messages& messages_;
  std::int32_t ranks_;
  int layouts_ = 0, wrong_ = 0;
  std::int64_t steps_ = 0;
  double moment_ = 0, beside_ = 0, routed_ = 0, skew_ = 0;  // of this rank, parts of the peak
};

int run(int argc, char** argv) {
  const cpu::MpiProcess process(argc, argv);
  try {
    const std::unique_ptr<Messages> messages = cpu::mpi_messages();
    Suite suite(*messages, process.size());
    std::vector<Case> cases;
    for (int i = 1; i + 1 < argc; i += 2) cases.push_back({argv[i], argv[i + 1], process.size()});
    suite.verbose = !cases.empty();
    if (cases.empty()) cases = choose_cases(process.size(), 400, 0).cases;
    for (const Case& one : cases) suite.check(one);
    process.barrier();
    return suite.report();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", process.rank().value(), error.what());
    cpu::MpiProcess::abort(1);
  }
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  return tw::train::run(argc, argv);
}
