// What every command that prices layouts starts from: the options a user gave as text, what they
// load (Inputs), and the same on one number of GPUs (Problem).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/evaluator.hpp"
#include "planner/answer_files.hpp"
#include "reports/result.hpp"

namespace CLI {
class App;
}

namespace tw {

inline constexpr std::string_view kFreshRouters = "fresh";  // --expert-load: nothing has taught them

// Options as typed; empty: left out.
struct Asked {
  std::string model, cluster, global_batch, seq;
  std::string calibration, framework = "megatron", precision = "bf16", headroom = "1 GiB";
  std::string expert_load, capacity_factor;  // a number, or fresh
  AnswerFiles files;
  bool quiet = false;
};
void add_options(CLI::App& app, Asked& asked);

struct Inputs {
  Model model;
  Cluster cluster;  // as given; resized by Problem
  Profile profile;
  Calibration calibration;
  std::int64_t global_batch = 0;
  std::int32_t seq = 0;
  Precision precision = Precision::bf16;
  bool any_framework = false;  // what the profile cannot run is searched too
  EvaluatorSettings settings;
  Training training = {};  // what a job file says of the phase
};
Inputs load_inputs(const Asked& asked);
Inputs load_inputs(const Asked& asked, Model model);  // asked.model is not read

// One number of GPUs. Pointers of `job` and `machine` point into `inputs` and this object.
struct Problem {
  Problem(const Inputs& inputs, std::int32_t gpus);
  Problem(const Problem&) = delete;
  Problem& operator=(const Problem&) = delete;

  const Inputs& inputs;
  Cluster cluster;
  Fabric fabric;
  Job job;
  Machine machine;
};
Question question_of(const Problem& problem);

// A whole number of an option; InputError says what is legal.
std::int64_t whole_number(std::string_view option, std::string_view text, std::int64_t low,
                          std::int64_t high);
double decimal(std::string_view option, std::string_view text, double low, double high);

}  // namespace tw
