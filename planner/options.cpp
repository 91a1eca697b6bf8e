#include "planner/options.hpp"

#include <CLI/CLI.hpp>

#include "planner/problem.hpp"
#include "reports/table.hpp"

namespace tw {

CLI::Option* text_option(CLI::App& app, const char* name, std::string& value, const std::string& help) {
  const auto refuse_empty = [](const std::string& text) {
    return text.empty() ? std::string("is empty; give a value or leave the option out") : std::string();
  };
  constexpr int kHelpWidth = 72;
  std::string lines = wrapped(help, kHelpWidth, 0);
  lines.pop_back();
  CLI::Option* option = app.add_option(name, value, lines)->check(refuse_empty);
  if (!value.empty()) option->capture_default_str();
  return option->type_name("")->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

void add_options(CLI::App& app, Asked& asked) {
  const auto option = [&](const char* name, std::string& value, const char* help) {
    return text_option(app, name, value, help);
  };
  option("--model", asked.model, "M: a Hugging Face config.json, or a name (trainwright list models)")
      ->required();
  option(
      "--cluster", asked.cluster,
      "C: a file, or a name (trainwright list clusters), either with :GPUS to resize it, as in h100-sxm:64")
      ->required();
  option("--global-batch", asked.global_batch, "B: sequences per step, over all GPUs")->required();
  option("--seq", asked.seq, "S: tokens per sequence")->required();
  option("--calibration", asked.calibration,
         "K: what kernels and links cost (trainwright list calibrations); default: the cluster's own");
  option("--framework", asked.framework,
         "F: whose kernels, overlap and memory are priced, and which layouts it can run (trainwright list "
         "frameworks); any: megatron's costs with no limit on layouts");
  option("--precision", asked.precision,
         "of matrix products: bf16, fp8-delayed, fp8-current, fp8-row, fp8-block, mxfp8, nvfp4");
  option("--headroom", asked.headroom, "device memory to leave free");
  option("--expert-load", asked.expert_load,
         "tokens of the busiest expert rank over the mean; fresh: as routers that nothing has taught yet "
         "spread them; default: 1, balanced, or what a CPU's calibration measured");
  option("--capacity-factor", asked.capacity_factor,
         "every expert gets exactly this times the mean; default: dropless");
  add_options(app, asked.files,
              "FILE: the result as JSON; - for standard output, which then carries nothing else");
  app.add_flag("--quiet", asked.quiet, "the answer alone: no tables, no progress");
}

}  // namespace tw
