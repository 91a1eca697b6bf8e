#include "planner/size/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "planner/options.hpp"
#include "planner/plan.hpp"
#include "planner/size/job_file.hpp"
#include "planner/size/runs.hpp"
#include "reports/text.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

[[noreturn]] void fail(std::string_view option, const std::string& message) {
  throw InputError("command line", option, message);
}

// Absent where the option is left out. A quantity of nothing is refused: `zero` says what to do instead.
template <class Q>
std::optional<Q> quantity(std::string_view option, const std::string& text, std::string_view zero) {
  if (text.empty()) return std::nullopt;
  const Parsed<Q> parsed = parse_unit<Q>(text);
  if (!parsed.value) fail(option, fmt::format("\"{}\": {}", printable(text), parsed.error));
  if (!(parsed.value->value > 0)) fail(option, fmt::format("\"{}\": {}", printable(text), zero));
  return parsed.value;
}

std::int64_t tokens_of(const std::string& text) {
  if (text.empty()) fail("--tokens", "is missing; give the tokens to train on, such as 1T");
  const Parsed<std::int64_t> parsed = parse_count(text, "tokens");
  if (!parsed.value) fail("--tokens", fmt::format("\"{}\": {}", printable(text), parsed.error));
  if (*parsed.value < 1) fail("--tokens", "must be at least 1");
  return *parsed.value;
}

constexpr std::string_view kPositive = "must be more than zero";

// Each number with the option that sets it.
Reliability reliability_of(const SizeOptions& o, const Cluster& cluster) {
  Reliability r;
  const Operations operations = load_operations(o.operations);
  const PublishedRun failed = load_run(operations.failures_of);
  const auto say = [&](const std::string& line) { r.sources.push_back(line); };
  const auto take = [&](std::string_view option, const std::string& text, Seconds stated,
                        const std::string& what, const std::string& source) {
    const std::optional<Seconds> own = quantity<Seconds>(option, text, kPositive);
    const Seconds value = own.value_or(stated);
    say(fmt::format(
        "{}: {} ({})", what,
        in_days(value) >= 2 ? fmt::format("{:.0f} h", in_hours(value)) : to_string(value),
        own ? std::string(option) : "assumed; " + source + "; " + std::string(option) + " sets it"));
    return value;
  };
  r.mtbf_per_gpu = take("--mtbf", o.mtbf, mtbf_per_gpu(failed), "time between failures of one GPU",
                        fmt::format("{}: {} interruptions of {} GPUs in {:.0f} days", failed.title,
                                    *failed.interruptions, count_text(failed.gpus), in_days(*failed.period)));
  r.detect = take("--detect", o.detect, operations.detect, "detection of a failure", operations.title);
  r.restart = take("--restart", o.restart, operations.restart, "restart from a checkpoint", operations.title);
  r.storage = quantity<BytesPerSec>("--storage-rate", o.storage_rate, kPositive);
  if (!r.storage && cluster.storage_per_node->value > 0) r.storage_per_node = *cluster.storage_per_node;
  if (r.storage) say("checkpoints are written at " + to_string(*r.storage) + " (--storage-rate)");
  if (r.storage_per_node)
    say("checkpoints are written at " + to_string(*r.storage_per_node) +
        " per node (the cluster's file; --storage-rate sets it)");
  if (!r.storage && !r.storage_per_node)
    say("the cluster states no storage rate: checkpoints are taken to cost nothing (--storage-rate sets it)");
  r.repair =
      quantity<Seconds>("--repair", o.repair, "must be more than zero; left out, a healthy node stands by");
  if (!o.spares.empty()) {
    if (!r.repair) fail("--spares", "needs --repair, the time that a node's repair takes");
    r.spares = static_cast<std::int32_t>(whole_number("--spares", o.spares, 0, kMostGpus));
  }
  say(r.repair ? fmt::format("a repair takes {} (--repair); spare nodes {}", to_string(*r.repair),
                             r.spares ? "as given" : "are as many as cost least")
               : std::string("a failed node is replaced at once (--repair and --spares: spare nodes)"));
  say("energy: of working GPUs at their board's power limit (data sheet)");
  return r;
}

}  // namespace

void add_options(CLI::App& app, SizeOptions& o) {
  add_options(app, o.asked);
  const auto option = [&](const char* name, std::string& value, const char* help) {
    return text_option(app, name, value, help);
  };
  for (const char* name : {"--global-batch", "--seq"}) app.get_option(name)->required(false);
  option("--tokens", o.tokens, "T: tokens to train on, such as 15T");
  option("--job", o.job,
         "J.json instead of --tokens, --global-batch and --seq: phases, each with tokens, seq, global_batch "
         "and, "
         "where they apply, ramp, documents and lora (see the README)");
  option("--gpus", o.gpus,
         "N: numbers of GPUs to size for: 64, 64,128,256, or 64..1024 for doublings; default: doublings of a "
         "node up to 16384");
  option("--deadline", o.deadline, "the longest that training may take, such as \"30 d\"");
  option("--budget", o.budget, "the most that it may cost, such as \"5M USD\"; needs --price");
  option("--price", o.price, "of one GPU, such as \"2.5 USD/h\"; spare nodes are billed too");
  option("--operations", o.operations, "failures and restarts where the options below leave them out");
  option("--mtbf", o.mtbf, "mean time between failures of one GPU, such as \"50000 h\"");
  option("--detect", o.detect, "from a failure until it is known and its node replaced");
  option("--restart", o.restart, "from then until training goes on from the last checkpoint");
  option("--storage-rate", o.storage_rate,
         "at which the whole job writes a checkpoint, such as \"2 TB/s\"; default: the cluster's, per node");
  option("--repair", o.repair, "that a failed node is away; left out, a healthy node stands by");
  option("--spares", o.spares, "nodes that stand by; default with --repair: as many as cost least");
  option("--fix", o.fixed, "keys of the layout that must have these values, such as tp=8,recompute=full");
}

namespace {

// The flags are the job of one phase.
std::vector<JobPhase> phases_of(const SizeOptions& o) {
  const Asked& a = o.asked;
  if (o.job.empty()) {
    if (a.global_batch.empty()) fail("--global-batch", "is missing; give the sequences per step, or --job");
    if (a.seq.empty()) fail("--seq", "is missing; give the tokens per sequence, or --job");
    return {};
  }
  for (const auto& [option, text] : {std::pair{"--tokens", o.tokens},
                                     std::pair{"--global-batch", a.global_batch}, std::pair{"--seq", a.seq}})
    if (!text.empty()) fail(option, "stands in the job's file; leave it out beside --job");
  return load_job(o.job);
}

// Of the job as a whole: its last phase stands for it.
Asked asked_of(const SizeOptions& o, const std::vector<JobPhase>& phases) {
  Asked out = o.asked;
  if (phases.empty()) return out;
  out.global_batch = std::to_string(phases.back().batches.back()),
  out.seq = std::to_string(phases.back().seq);
  return out;
}

}  // namespace

SizeAsked load_size(const SizeOptions& o) {
  const std::vector<JobPhase> phases = phases_of(o);
  SizeAsked out{load_inputs(asked_of(o, phases)), {}};
  SizeSettings& s = out.settings;
  const Inputs& in = out.inputs;
  s.phases = phases;
  if (phases.empty()) s.phases = {{"all", tokens_of(o.tokens), {in.global_batch}, in.seq, {}}};
  s.gpus = o.gpus.empty() ? default_gpus(in.cluster) : parse_gpus(o.gpus);
  s.deadline = quantity<Seconds>("--deadline", o.deadline, "must be more than zero; leave it out for none");
  s.budget = quantity<Dollars>("--budget", o.budget, "must be more than zero; leave it out for none");
  s.price = quantity<DollarsPerSec>("--price", o.price,
                                    "must be more than zero; left out, GPU-hours are compared instead");
  if (s.budget && !s.price) fail("--budget", "needs --price, what a GPU costs per hour");
  s.reliability = reliability_of(o, in.cluster);
  s.fixed = o.fixed, s.progress = !o.asked.quiet;
  return out;
}

}  // namespace tw
