#include "train/command.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "topology/check.hpp"
#include "train/machine.hpp"

namespace tw::train {
namespace {

const char* program_name = "trainwright-train";
constexpr std::int64_t kMaxBatch = 1 << 24, kMaxSteps = 1 << 30;

// Says what is legal in its refusal, not in the help.
template <class N>
CLI::Validator within(N low, N high) {
  return CLI::Range(low, high).description("");
}

void add_checkpoints(CLI::App& app, Asked& o) {
  app.add_option("--save", o.save, "FILE: a checkpoint, written at the end");
  app.add_option("--save-every", o.save_every, "also after every so many steps")
      ->check(within(std::int64_t{1}, kMaxSteps))
      ->needs("--save");
  app.add_option("--resume", o.resume, "FILE: goes on from a checkpoint, of any layout and number of ranks");
}

void add_options(CLI::App& app, Asked& o, const Engines& engines) {
  app.add_option("--model", o.question.model,
                 "M: a Hugging Face config.json, or a name (trainwright list models)")
      ->required();
  app.add_option("--layout", o.question.arrangement,
                 "L: keys and values as in trainwright predict, for as many ranks as were started;\n"
                 "left out: dp over all of them");
  app.add_option("--global-batch", o.question.global_batch, "B: sequences per step, over all ranks")
      ->required()
      ->check(within(std::int64_t{1}, kMaxBatch));
  app.add_option("--seq", o.question.seq, "S: tokens per sequence")
      ->required()
      ->check(within(std::int32_t{1}, std::int32_t{1} << 20));
  app.add_option("--steps", o.steps, "steps to do, beyond those of --resume")
      ->check(within(std::int64_t{1}, kMaxSteps))
      ->capture_default_str();
  if (engines.dtypes.size() > 1)
    app.add_option("--dtype", o.dtype, "of stored numbers: fp64, fp32, or bf16 with fp32 master weights")
        ->check(CLI::IsMember(engines.dtypes).description(""))
        ->capture_default_str();
  app.add_option("--data", o.data, "FILE: its bytes are the tokens; left out: a pattern that can be learnt");
  add_checkpoints(app, o);
  app.add_option("--framework", o.question.framework,
                 "F: trainwright, or a profile of it: what its operators fuse")
      ->capture_default_str();
  app.add_option("--json", o.json, "FILE: losses, norms, times and memory as JSON");
  app.add_option("--trace", o.trace,
                 "FILE: what each stream of each rank did in one step, and when, as Perfetto opens it");
  app.add_option("--status", o.status, "FILE: each rank writes what it is doing into FILE.RANK");
  app.add_option("--machine", o.machine,
                 "NAME: refuse to run on another, as trainwright calibrate names them");
  app.add_flag("--quiet", o.quiet, "only the last line");
}

void add_recipe(CLI::App& app, Settings& s) {
  const auto number = [&](const char* name, double& value, double low, double high, const char* help) {
    app.add_option(name, value, help)->check(within(low, high))->capture_default_str()->group("Recipe");
  };
  app.add_option("--seed", s.seed, "of first weights and of the pattern")
      ->check(within(std::uint64_t{0}, std::uint64_t{1} << 62))
      ->capture_default_str()
      ->group("Recipe");
  number("--learning-rate", s.learning_rate, 0, 1, "of AdamW");
  number("--weight-decay", s.weight_decay, 0, 1, "of AdamW");
  number("--clip", s.clip, 0, 1e9, "of the norm of all gradients; 0: none");
  number("--balance", s.balance, 0, 100, "coefficient of the load-balance loss of routed layers");
  app.add_flag("--balance-pooled", s.balance_pooled,
               "that loss of each micro-batch (Megatron-LM: aux_loss), not of each sequence (seq_aux_loss);\n"
               "the size of micro-batches then changes the loss")
      ->group("Recipe");
  number("--deviation", s.initial_deviation, 0, 1e30, "of first weights");
}

// One line, from the rank that is to speak.
void complain(std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "%s: %s\n", program_name, printable(line, 2000).c_str());
}

// Whether all ranks are well; of those that are not, the first says why.
bool all_well(Messages& messages, const std::vector<Rank>& world, const std::string& error) {
  const auto bad = static_cast<std::int64_t>(!error.empty());
  std::vector<std::int64_t> all(world.size());
  messages.all_gather(world, &bad, sizeof bad, all.data());
  const auto first = std::find(all.begin(), all.end(), 1);
  if (first == all.end()) return true;
  if (world[static_cast<std::size_t>(first - all.begin())] == messages.self()) complain(error);
  return false;
}

// Before the steps are done, not after.
void refuse_unwritable(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  if (::access(folder.c_str(), W_OK) != 0)
    throw InputError(path, "", fmt::format("cannot be written: {}", std::strerror(errno)));
}

std::vector<Rank> world_of(const cpu::MpiProcess& process) {
  std::vector<Rank> out;
  for (std::int32_t i = 0; i < process.size(); ++i) out.push_back(Rank(i));
  return out;
}

// Where times are to be held against a calibration of one machine.
void refuse_other_machine(const std::string& wanted) {
  if (!wanted.empty() && wanted != processor())
    throw InputError("--machine", "", fmt::format("this machine is {}, not {}", processor(), wanted));
}

std::string with_commas(double value) {
  std::string out = fmt::format("{:.0f}", value);
  for (std::size_t i = out.size(); i > 3; i -= 3) out.insert(i - 3, ",");
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::int64_t Training::largest(Messages& messages, std::int64_t own) const {
  std::vector<std::int64_t> all(view_.world().size());
  messages.all_gather(view_.world(), &own, sizeof own, all.data());
  return *std::max_element(all.begin(), all.end());
}

// Of this process, ever.
std::int64_t Training::most_resident() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return std::int64_t{use.ru_maxrss} * 1024;
}

void Training::begin() const {
  if (!speaks_ || asked_.quiet) return;
  const auto weights = named_weights(view_.program());
  std::int64_t parameters = 0;
  for (const NamedWeight& weight : weights) parameters += weight.elements;
  fmt::print("{}: {} parameters, {}, {} sequences of {} tokens a step on {} ranks{}\n", view_.model().name,
             with_commas(static_cast<double>(parameters)), asked_.dtype, view_.global_batch(), view_.seq(),
             view_.world().size(),
             done_.first_step > 0 ? fmt::format(", after {} steps", done_.first_step) : "");
}

void Training::note(double loss, double norm, double seconds) {
  done_.losses.push_back(loss), done_.norms.push_back(norm), done_.seconds.push_back(seconds);
  if (!speaks_ || asked_.quiet) return;
  fmt::print("step {:>4}  loss {:.4f}  gradient norm {:.4f}  {} tokens/s\n",
             done_.first_step + static_cast<std::int64_t>(done_.losses.size()), loss, norm,
             with_commas(tokens() / seconds));
  std::fflush(stdout);
}

int Training::diverged() const {
  if (speaks_)
    complain(fmt::format("step {}: the loss is no number; try a smaller --learning-rate or --dtype fp32",
                         done_.first_step + static_cast<std::int64_t>(done_.losses.size())));
  return kDiverged;
}

// The first step also sets up communicators: it does not count where there are others.
void Training::end() {
  const std::vector<double>& all = done_.seconds;
  const double step = median({all.begin() + (all.size() > 1 ? 1 : 0), all.end()});
  fmt::print("loss {:.4f} -> {:.4f}; a step takes {:.1f} ms, {} tokens/s; peak {:.2f} MiB on one rank\n",
             done_.losses.front(), done_.losses.back(), step * 1e3, with_commas(tokens() / step),
             static_cast<double>(done_.peak_bytes) / (1 << 20));
  if (!asked_.save.empty()) fmt::print("saved {}\n", asked_.save);
  if (asked_.json.empty()) return;
  const auto list = [](const std::vector<double>& values) {
    Json out = Json::array();
    for (const double value : values) out.push(value);
    return out;
  };
  Json out = Json::object();
  out.set("schema", "trainwright.train/1").set("model", view_.model().name).set("dtype", asked_.dtype);
  out.set("ranks", static_cast<std::int64_t>(view_.world().size())).set("first_step", done_.first_step);
  out.set("loss", list(done_.losses)).set("gradient_norm", list(done_.norms));
  out.set("step_time_s", list(done_.seconds)).set("median_step_time_s", step);
  out.set("tokens_per_s", tokens() / step).set("peak_bytes", done_.peak_bytes);
  Json terms = Json::object();
  for (const auto& [name, seconds] : done_.terms) terms.set(name, seconds);
  out.set("resident_bytes", done_.resident_bytes).set("terms_s", terms);
  if (!done_.traced_seconds.empty())
    out.set("traced_step_time_s", list(done_.traced_seconds)).set("device", extra_);
  if (!done_.issue_seconds.empty()) out.set("issue_step_time_s", list(done_.issue_seconds));
  write_file(asked_.json, out.dump() + "\n");
}

namespace {

int train(const Asked& asked, const cpu::MpiProcess& process, Messages& messages, const Engines& engines) {
  const std::vector<Rank> world = world_of(process);
  std::optional<Program> program;
  std::optional<Data> data;
  std::string error;
  try {
    refuse_other_machine(asked.machine);
    ProgramInput input = program_input(asked.question);
    refuse(input.model);
    data = asked.data.empty() ? Data::pattern(asked.settings.seed, input.model.vocab)
                              : Data::bytes_of(asked.data, input.model.vocab, asked.question.seq);
    program.emplace(std::move(input));
    if (engines.prepare) engines.prepare(process, *program);
    for (const std::string& path : {asked.save, asked.trace}) {
      if (process.rank() == world.front() && !path.empty()) refuse_unwritable(path);
    }
  } catch (const InputError& bad) {
    error = bad.what();
  }
  if (!all_well(messages, world, error)) return kBadInput;
  const View view(*program, process.rank());
  Training run(asked, view, process.rank() == world.front());
  try {
    return engines.train(run, messages, *data);
  } catch (const InputError& bad) {  // of a checkpoint, or of states: the same on all ranks
    if (process.rank() == world.front()) complain(bad.what());
    return kBadInput;
  }
}

constexpr const char* kAbout =
    "Trains a model for some steps on the ranks that mpirun starts, and says what it did.\n"
    "Exit codes: 0 done; 2 bad input (one line says what is legal); 4 the loss is no number any more";
}  // namespace

int train_command(int argc, char** argv, const cpu::MpiProcess& process, const Engines& engines) {
  program_name = engines.program;
  const bool speaks = process.rank() == Rank(0);
  Asked asked;
  asked.question.ranks = process.size();
  CLI::App app(kAbout, engines.program);
  app.footer(
      fmt::format("Example:\n  mpirun -n 4 {} --model config.json --layout dp=2,tp=2,sp=1 --global-batch 8 "
                  "--seq 64 --steps 20 --save run.ckpt",
                  engines.program));
  add_options(app, asked, engines);
  add_recipe(app, asked.settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    return speaks ? app.exit(asked_for_help) : kDone;
  } catch (const CLI::ParseError& error) {
    if (speaks)
      complain("command line: " + std::string(error.what()) + "; see " + engines.program + " --help");
    return kBadInput;
  }
  const std::unique_ptr<Messages> messages = cpu::mpi_messages();
  return train(asked, process, *messages, engines);
}

}  // namespace tw::train
