// The command of a shell script that starts training: its launcher (torchrun, srun, mpirun, deepspeed,
// accelerate) says how many ranks there are, the words behind the program are its options.
#pragma once

#include "planner/preflight/launch.hpp"

namespace tw::preflight {

struct TrainingCommand {
  std::string program;             // "pretrain_gpt.py", or a module; empty: options alone
  std::vector<std::string> words;  // behind it
  Settings settings;               // gpus, gpus_per_node, nodes, env.NAME, is_script
  std::vector<Finding> findings;
  std::map<std::string, std::string> documents;  // files that the script writes
};

// InputError where nothing is started. Reads bash -c "..." too.
TrainingCommand training_command(const LaunchAsk& ask, std::string_view text);
// "--name value", "--name=value", "--flag" for argparse.
std::vector<GivenOption> dashed_options(const std::vector<std::string>& words,
                                        std::vector<Finding>& findings);

}  // namespace tw::preflight
