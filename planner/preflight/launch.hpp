// A launch file as its options: what the target's own parser would make of them, by names of our own
// choosing (`settings`), and the model, layout and job that they mean. One row per target in launch/.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "costmodel/layout/layout.hpp"
#include "costmodel/program/routing.hpp"
#include "planner/preflight/shell.hpp"
#include "reports/check_result.hpp"

namespace tw::preflight {

// Values by name: "tensor_model_parallel_size" -> "8". Lists are joined by blanks.
using Settings = std::map<std::string, std::string, std::less<>>;

// An option as it stands in the file.
struct GivenOption {
  std::string name;
  std::vector<std::string> values;
};

// What a file says before any of it is understood.
struct GivenLaunch {
  std::vector<GivenOption> options;
  Settings settings;  // that are no options: environment, launcher ("gpus", "gpus_per_node", "nodes")
  std::vector<Finding> findings;
};

// What all of it means. Sizes that the file does not say are 0.
struct Launch {
  std::string file;
  std::vector<ReadOption> options;
  Settings settings;
  std::vector<Finding> findings;

  std::optional<Model> model;
  std::string why_no_model;  // where there is none: what is missing
  Layout layout;             // dp included, where `gpus` is known
  std::int64_t global_batch = 0;
  std::int32_t seq = 0, gpus = 0;
  double capacity_factor = 0;
  std::int32_t sampler_ranks = 0;  // that read samples of their own; 0: all of dp
  std::string framework;           // whose profile prices it

  void add(Severity severity, std::string about, std::string text) {
    findings.push_back({severity, std::move(about), std::move(text)});
  }
};

// What the user says beside the file.
struct LaunchAsk {
  std::string file;
  ShellVariables variables;  // --set NAME=VALUE
  std::string model;         // --model; empty: the file must say it
  std::int64_t global_batch = 0;
  std::int32_t seq = 0, cluster_gpus = 0, gpus_per_node = 8;
};

// What is exported.
struct ExportAsk {
  const Model* model = nullptr;
  Layout layout;
  std::int64_t global_batch = 0;
  std::int32_t seq = 0, gpus_per_node = 8;
  double capacity_factor = 0;
};

struct LaunchFormat {
  std::string_view name;
  int order;  // of display
  std::string_view help;
  // How likely the text is of this format, 0 to 100.
  int (*likely)(std::string_view path, std::string_view text);
  GivenLaunch (*read)(const LaunchAsk& ask, std::string_view text);
  // Settings -> model, layout and job; `launch.gpus` is known or 0.
  void (*understand)(const LaunchAsk& ask, Launch& launch);
  // The text of a launch file. InputError names what the target cannot express.
  std::string (*write)(const ExportAsk& ask);
};

}  // namespace tw::preflight

namespace tw {
using preflight::LaunchFormat;
std::span<const LaunchFormat* const> all_launch();
}  // namespace tw

namespace tw::preflight {

// The file as launch, classified and understood, without a price. `format`: a name, or empty to find out.
Launch read_launch(const LaunchAsk& ask, std::string_view text, const LaunchFormat& format);
const LaunchFormat& launch_format(std::string_view name, std::string_view path, std::string_view text);

// ---- settings, for formats
std::optional<std::string> setting(const Settings& settings, std::string_view key);
bool is_on(const Settings& settings, std::string_view key);  // "true" or "1"
// InputError at the file where it is no whole number, or is known at run time only.
std::int32_t whole(const Launch& launch, std::string_view key, std::int32_t absent);
std::int64_t whole_of(const std::string& file, std::string_view key, const std::string& value);

}  // namespace tw::preflight
