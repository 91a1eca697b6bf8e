// Writes shell scripts: a launcher, and settings as the options that mean them.
#pragma once

#include "planner/preflight/launch.hpp"

namespace tw::preflight {

struct ScriptHead {
  std::string_view target, program, launcher;  // launcher: torchrun or deepspeed
  std::int32_t gpus = 1, gpus_per_node = 8;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string before = {};  // lines ahead of the command
};
std::string shell_script(const ScriptHead& head, const Settings& settings,
                         const std::vector<std::string>& more);
// "--name value" for each; InputError where the target has no option that means a setting.
std::vector<std::string> option_lines(std::string_view target, const Settings& settings);

}  // namespace tw::preflight
