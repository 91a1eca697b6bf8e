#include "calibrate/probes/training_ops.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <sstream>

#include "calibrate/fit/minimise.hpp"
#include "calibrate/measure/samples.hpp"
#include "costmodel/program/view.hpp"
#include "topology/check.hpp"
#include "train/engine.hpp"
#include "train/trainer.hpp"

namespace tw {
namespace {

using train::TensorEngine;

constexpr double kCounts = 0.02;  // share of a step from which a time must be well known

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of this thread: what an operator takes where nobody else has the core meanwhile.
double worked() {
  timespec at{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) * 1e-9;
}

std::string joined(std::string_view op, std::initializer_list<std::int64_t> shape) {
  std::string out(op);
  for (const std::int64_t each : shape) out += ' ' + std::to_string(each);
  return out;
}

std::string_view suffix(GemmPass pass) {
  constexpr std::string_view kNames[] = {"", "_dgrad", "_wgrad"};
  return kNames[static_cast<std::size_t>(pass)];
}

std::string exchange(Collective kind, std::int32_t ranks, std::int64_t bytes) {
  return joined(fmt::format("@{}", static_cast<int>(kind)), {ranks, bytes});
}

// What a row of the operation is called; empty where nothing is priced.
std::string key_of(const Op& op, std::int32_t ranks) {
  if (const auto* g = std::get_if<GemmShape>(&op.work))
    return joined(fmt::format("gemm{}", suffix(g->pass)), {g->m, g->n, g->k});
  if (const auto* g = std::get_if<GroupedGemmShape>(&op.work))
    return joined(fmt::format("grouped_gemm{}", suffix(g->pass)),
                  {g->groups, std::llround(g->rows), g->n, g->k});
  if (const auto* a = std::get_if<AttentionShape>(&op.work))
    return joined(a->backward ? "attention_backward" : "attention_forward",
                  {a->batch, a->heads, a->q_len, a->head_dim});
  if (const auto* e = std::get_if<Elementwise>(&op.work)) {
    if (e->bytes.count == 0) return {};
    return joined(fmt::format("{}{}", op.name, e->backward ? ".backward" : ""), {e->bytes.count});
  }
  if (const auto* c = std::get_if<CollectiveWork>(&op.work)) return exchange(c->kind, ranks, c->bytes.count);
  if (const auto* d = std::get_if<DispatchWork>(&op.work))
    return exchange(Collective::all_to_all, ranks, d->bytes.count);
  return {};
}

// Times what it hands on to the trainer's engine.
class TimedEngine : public TensorEngine<bf16> {
 public:
  TimedEngine(const train::View& view, Messages& messages, const train::Settings& settings,
              const train::Data& data)
      : TensorEngine(view, messages, settings, data), view_(view), messages_(messages) {}

  void op(const Step& step, Call& call) {
    const Op& op = op_of(step, view_.units());
    const bool exchange = op.stream == Stream::network;
    if (exchange) together();
    const double start = exchange ? now() : worked();
    TensorEngine::op(step, call);
    samples.add(key_of(op, world()), (exchange ? now() : worked()) - start);
    if (call.io.what == Operator::dispatch && !call.backward()) note_load(call);
  }
  void act(const Step& step) {
    const LocalElements local =
        step.unit < 0 ? LocalElements{}
                      : local_elements(*view_.units()[static_cast<std::size_t>(step.unit)].work);
    const bool moves = step.action == Action::gather || step.action == Action::reduce;
    if (moves) together();
    const double start = now(), before = worked();
    TensorEngine::act(step);
    const double seconds = now() - start;
    states_ += worked() - before;
    if (step.action == Action::update) elements_ += local.attention + local.expert;
    if (moves && local.expert == 0 && joins_all()) add_exchange(step.action, local.attention, seconds);
  }
  // Everything that a step does to gradients and states of one rank is one row, by the bytes that the
  // optimizer is priced by: gradient read twice, master and both moments read and written, bf16 written.
  void begin_step() {
    const double before = worked();
    TensorEngine::begin_step();
    states_ += worked() - before;
  }
  void end_step() {
    constexpr std::int64_t kBytes = 2 * 4 + 3 * 8 + 2;
    if (world() == 1) samples.add(joined("optimizer", {elements_ * kBytes}), states_);
    elements_ = 0, states_ = 0;
    TensorEngine::end_step();
  }

  Samples samples;
  std::vector<double> deviations;  // of the rows that this rank received from those that it sent, over these

 private:
  void note_load(const Call& call) {
    const auto sent = static_cast<double>(call.reads[0]->rows);
    if (sent > 0) deviations.push_back(std::abs(static_cast<double>(call.writes[0]->rows) - sent) / sent);
  }
  std::int32_t world() const { return static_cast<std::int32_t>(view_.world().size()); }
  void together() {
    double zero = 0;
    if (world() > 1) messages_.all_reduce(view_.world(), &zero, 1);
  }
  // The states of attention are exchanged between all ranks of the launch, in one collective.
  bool joins_all() const {
    const Program& program = view_.program();
    const std::size_t shards = program.shard_group(view_.rank(), Scope::attention).size();
    const std::size_t replicas = program.replica_group(view_.rank(), Scope::attention).size();
    return world() > 1 && std::max(shards, replicas) == view_.world().size();
  }
  void add_exchange(Action action, std::int64_t elements, double seconds) {
    const bool cut = view_.program().cuts_optimizer();
    const Collective reduction = cut ? Collective::reduce_scatter : Collective::all_reduce;
    if (action == Action::gather)
      samples.add(exchange(Collective::all_gather, world(), elements * size_of(DType::bf16)), seconds);
    else
      samples.add(exchange(reduction, world(), elements * size_of(DType::fp32)), seconds);
  }

  const train::View& view_;
  Messages& messages_;
  std::int64_t elements_ = 0;
  double states_ = 0;
};

Model model_of(const TrainingShape& shape) {
  Model model;
  model.name = "synthetic", model.family = "llama", model.hidden = shape.hidden, model.vocab = 256;
  LayerKind dense;
  const std::int32_t width = shape.hidden / shape.heads;
  dense.attention = {.heads = shape.heads, .kv_heads = shape.kv_heads, .head_dim = width, .value_dim = width};
  dense.mlp = Mlp{.ffn = shape.ffn};
  LayerKind routed = dense;
  routed.mlp.reset();
  routed.moe = Moe{.experts = shape.experts, .top_k = 2, .ffn = shape.expert_ffn};
  add_layer(model, dense);
  add_layer(model, shape.experts > 0 ? routed : dense);
  return model;
}

ProgramInput input_of(const TrainingShape& shape, std::int32_t ranks) {
  ProgramInput input;
  input.model = model_of(shape);
  input.profile = load_profile("trainwright-cpu");
  const bool alone = shape.layout == "dp=1";
  input.layout = parse_layout(shape.layout + ",mb=" + std::to_string(shape.sequences), alone ? 1 : ranks);
  input.job.gpus = alone ? 1 : ranks;
  input.job.seq = shape.seq;
  input.job.global_batch = input.layout.dp * input.layout.mb;
  return input;
}

std::vector<std::int64_t> numbers(std::string_view text) {
  std::vector<std::int64_t> out;
  std::istringstream in{std::string(text)};
  for (std::int64_t each = 0; in >> each;) out.push_back(each);
  return out;
}

void add_row(MeasuredOps& out, const std::string& key, const Summary& s) {
  const std::size_t space = key.find(' ');
  const std::vector<std::int64_t> shape = numbers(std::string_view(key).substr(space));
  const Seconds time(rounded(s.median));
  const double spread = rounded(s.spread);
  if (key[0] != '@') {
    out.kernels.push_back({key.substr(0, space), shape, time, spread, s.count});
    return;
  }
  CollectiveRow row;
  row.use = "fit", row.gpu = "local-cpu";
  row.collective = static_cast<Collective>(std::stoi(key.substr(1)));
  row.algorithm = usual_algorithm(row.collective);
  row.ranks = static_cast<std::int32_t>(shape[0]), row.bytes = Bytes(shape[1]);
  row.time = time, row.spread = spread, row.samples = s.count;
  out.collectives.push_back(row);
}

std::vector<RoutingRow> load_of(const std::vector<double>& deviations, const Model& model, Messages& messages,
                                Group everyone) {
  double sums[] = {0, static_cast<double>(deviations.size())};
  for (const double each : deviations) sums[0] += each;
  messages.all_reduce(everyone, sums, 2);
  if (sums[1] == 0) return {};
  const auto n = static_cast<std::int32_t>(everyone.size());
  return {{model.moe()->experts, model.moe()->top_k, n, rounded(sums[0] / sums[1])}};
}

// The ranks' medians, or fast times, averaged; what they measured under the same key.
MeasuredOps averaged(const Samples& samples, ShapeRun::Take take, Messages& messages, Group everyone) {
  MeasuredOps out;
  for (const auto& [key, times] : samples.times()) {
    if (key.empty()) continue;
    Summary s = summary_of(times);
    double sums[] = {take == ShapeRun::Take::fast ? s.fast : s.median, s.spread};
    messages.all_reduce(everyone, sums, 2);
    const auto n = static_cast<double>(everyone.size());
    s.median = sums[0] / n, s.spread = sums[1] / n;
    add_row(out, key, s);
  }
  return out;
}

}  // namespace

std::string to_string(const TrainingShape& s) {
  return fmt::format("hidden {} heads {}/{} ffn {} experts {}x{} seq {} x {} {}", s.hidden, s.heads,
                     s.kv_heads, s.ffn, s.experts, s.expert_ffn, s.seq, s.sequences, s.layout);
}

std::vector<TrainingShape> training_shapes() {
  return {
      {128, 4, 2, 352, 0, 0, 64, 1},      {128, 4, 4, 512, 8, 128, 256, 2},  {192, 6, 2, 448, 4, 320, 128, 1},
      {192, 6, 6, 640, 8, 96, 512, 1},    {320, 10, 2, 896, 16, 160, 96, 1}, {320, 5, 5, 1024, 0, 0, 256, 1},
      {384, 12, 4, 1152, 8, 256, 192, 2}, {448, 7, 7, 1216, 4, 512, 128, 1}, {512, 8, 4, 1344, 0, 0, 512, 1},
      {96, 3, 3, 256, 8, 224, 1024, 1},   {640, 10, 5, 1728, 8, 320, 64, 2}, {64, 2, 2, 176, 4, 64, 384, 2}};
}

std::vector<TrainingShape> exchange_shapes(std::int32_t ranks) {
  std::vector<TrainingShape> out;
  if (ranks < 2) return out;
  const std::string n = std::to_string(ranks);
  for (const std::string& layout : {"tp=" + n, "tp=" + n + ",sp=1", "dp=" + n + ",ep=" + n + ",zero=0",
                                    "dp=" + n + ",zero=1", "dp=" + n + ",zero=3"}) {
    for (const auto& [hidden, seq] : {std::pair{64, 64}, std::pair{192, 192}, std::pair{384, 512}}) {
      const bool routed = layout.find(",ep=") != std::string::npos;
      TrainingShape s{hidden * ranks / 2, 2 * ranks, 2 * ranks, hidden * 2, 0, 0, seq, 1, layout};
      if (routed) s.experts = 4 * ranks, s.expert_ffn = hidden;
      out.push_back(s);
    }
  }
  return out;
}

class ShapeRun::Parts {
 public:
  Parts(const TrainingShape& shape, Messages& messages, std::int32_t ranks)
      : program(input_of(shape, ranks)),
        view(program, program.input().job.gpus == 1 ? Rank(0) : messages.self()),
        data(train::Data::pattern(train::Settings{}.seed, program.input().model.vocab)),
        engine(view, messages, {}, data),
        trainer(view, engine, recorder) {}
  Program program;
  train::View view;
  train::Data data;
  TimedEngine engine;
  train::Recorder recorder;
  train::Trainer<TimedEngine> trainer;
};

ShapeRun::ShapeRun(const TrainingShape& shape, Messages& messages, std::int32_t ranks)
    : parts_(new Parts(shape, messages, ranks)), messages_(messages) {
  for (std::int32_t i = 0; i < ranks; ++i) everyone_.push_back(Rank(i));
}
ShapeRun::~ShapeRun() = default;
ShapeRun::ShapeRun(ShapeRun&&) noexcept = default;

void ShapeRun::step() {
  parts_->trainer.step();
  if (steps_++ == 0) parts_->engine.samples = {}, parts_->engine.deviations = {};  // the first one warms up
}

bool ShapeRun::known(double error) const {
  double short_of = parts_->engine.samples.worst_error(kCounts) > error ? 1 : 0;
  messages_.all_reduce(everyone_, &short_of, 1);
  return short_of == 0;
}

MeasuredOps ShapeRun::result(Take take) const {
  MeasuredOps out = averaged(parts_->engine.samples, take, messages_, everyone_);
  out.routing = load_of(parts_->engine.deviations, parts_->program.input().model, messages_, everyone_);
  return out;
}

}  // namespace tw
