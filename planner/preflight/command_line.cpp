#include "planner/preflight/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/check.hpp"

namespace tw::preflight {
namespace {

using Words = std::vector<std::string>;
constexpr int kMostShells = 4;  // bash -c inside bash -c

bool is_program(const std::string& word) {
  return word.size() > 3 && word.ends_with(".py") && !word.starts_with("-");
}

// Index of the program among the words; their number where there is none.
std::size_t program_of(const Words& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (is_program(words[i])) return i;
    if (words[i] == "nemo" && i + 2 < words.size() && words[i + 1] == "llm") return i + 2;
    const bool module = words[i] == "-m" || words[i] == "--module";
    const bool launcher = i + 1 < words.size() && (words[i + 1].starts_with("torch.distributed") ||
                                                   words[i + 1].starts_with("accelerate"));
    if (module && i + 1 < words.size() && !launcher) return i + 1;
  }
  return words.size();
}

// What launchers call the ranks of a node, all ranks, and nodes.
constexpr std::string_view kPerNode[] = {"--nproc_per_node", "--nproc-per-node", "--ntasks-per-node",
                                         "--num_gpus",       "--tasks-per-node", "--npernode",
                                         "-N_per_node"};
constexpr std::string_view kGpusPerNode[] = {"--gpus-per-node", "--gres"};
constexpr std::string_view kNodes[] = {"--nnodes", "--nodes", "-N", "--num_nodes", "--num_machines"};
constexpr std::string_view kRanks[] = {"-n", "-np", "--ntasks", "--num_processes", "--n"};

template <std::size_t N>
bool among(const std::string& word, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), word) != std::end(names);
}

// "8", "gpu:8", "gpu:h100:8", "2:2"; 0: not known here.
std::int32_t count_in(const std::string& value) {
  const std::string last = value.substr(value.rfind(':') == std::string::npos ? 0 : value.rfind(':') + 1);
  if (last.empty() || last.size() > 7 || last.find_first_not_of("0123456789") != std::string::npos) return 0;
  return std::stoi(last);
}

struct Ranks {
  std::int32_t per_node = 0, gpus_per_node = 0, nodes = 0, all = 0;
  bool nodes_open = false;
};

void read_ranks(const Words& words, Ranks& out) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    const std::string name = words[i].substr(0, equals);
    if (!name.starts_with('-')) continue;
    const std::string value = equals != std::string::npos ? words[i].substr(equals + 1)
                              : i + 1 < words.size()      ? words[i + 1]
                                                          : "";
    const std::int32_t count = count_in(value);
    if (among(name, kNodes)) out.nodes_open = count == 0;
    if (count == 0) continue;
    if (among(name, kPerNode)) out.per_node = count;
    if (among(name, kGpusPerNode)) out.gpus_per_node = count;
    if (among(name, kNodes)) out.nodes = count;
    if (among(name, kRanks)) out.all = count;
  }
}

// srun starts one torchrun for each node: its own numbers win over srun's.
void settle_ranks(const Words& launcher, const Words& batch, TrainingCommand& out) {
  Ranks outer, inner;
  read_ranks(batch, outer);
  const auto torchrun = std::find_if(launcher.begin(), launcher.end(), [](const std::string& word) {
    return word.ends_with("torchrun") || word.starts_with("torch.distributed") ||
           word.ends_with("deepspeed") || word == "accelerate" || word.ends_with("/accelerate");
  });
  read_ranks({launcher.begin(), torchrun}, outer);
  read_ranks({torchrun, launcher.end()}, inner);
  const bool has_inner = torchrun != launcher.end();
  const bool accelerate = has_inner && torchrun->ends_with("accelerate");
  Ranks ranks = has_inner ? inner : outer;
  if (ranks.nodes == 0 && has_inner) ranks.nodes = outer.nodes;
  std::int32_t per_node = ranks.per_node;
  if (per_node == 0 && !has_inner) per_node = outer.gpus_per_node;
  if (per_node == 0 && has_inner) per_node = outer.gpus_per_node;
  if (accelerate || (!has_inner && ranks.all > 0)) {
    if (ranks.all > 0) out.settings["gpus"] = std::to_string(ranks.all);
    return;
  }
  if (per_node > 0) out.settings["gpus_per_node"] = std::to_string(per_node);
  if (ranks.nodes > 0) out.settings["nodes"] = std::to_string(ranks.nodes);
  const bool one_node = has_inner && ranks.nodes == 0 && !inner.nodes_open;
  if (per_node > 0 && (ranks.nodes > 0 || one_node)) {
    const std::int64_t gpus = std::int64_t{per_node} * std::max(ranks.nodes, 1);
    out.settings["gpus"] = std::to_string(gpus);
  }
}

constexpr std::string_view kWatched[] = {"CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_VISIBLE_DEVICES",
                                         "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE", "NCCL_SHM_DISABLE"};

void note_environment(const ShellVariables& variables, TrainingCommand& out) {
  for (const std::string_view name : kWatched) {
    const auto found = variables.find(name);
    if (found != variables.end() && !found->second.empty() && !is_open(found->second[0]))
      out.settings["env." + std::string(name)] = found->second[0];
  }
}

// bash -c "CMD", sh -c "CMD": the words behind -c.
const std::string* inner_script(const Words& words) {
  for (std::size_t i = 0; i + 2 < words.size(); ++i) {
    const bool shell = words[i].ends_with("bash") || words[i].ends_with("sh");
    if (shell && words[i + 1].starts_with("-") && words[i + 1].ends_with("c")) return &words[i + 2];
  }
  return nullptr;
}

void add_findings(const ShellReading& script, TrainingCommand& out) {
  for (const std::string& each : script.not_understood)
    out.findings.push_back({Severity::warn, "launch", each});
  for (const std::string& each : script.assumed) out.findings.push_back({Severity::note, "launch", each});
}

TrainingCommand find_command(const LaunchAsk& ask, std::string_view text, const ShellVariables& variables,
                             int depth) {
  ShellReading script = read_shell(text, ask.file, variables);
  TrainingCommand out;
  Words launcher;
  bool found = false;
  for (const ShellCommand& command : script.commands) {
    const std::string* inner = inner_script(command.words);
    if (inner != nullptr && depth < kMostShells) {
      TrainingCommand own = find_command(ask, *inner, script.variables, depth + 1);
      if (own.program.empty()) continue;
      settle_ranks(command.words, script.batch_options, out);
      for (auto& [key, value] : own.settings) out.settings[key] = value;
      out.program = own.program, out.words = own.words, launcher.clear(), found = true;
      out.findings = own.findings;
      continue;
    }
    const std::size_t at = program_of(command.words);
    if (at == command.words.size()) continue;
    found = true;
    out.program = command.words[at];
    launcher.assign(command.words.begin(), command.words.begin() + static_cast<std::ptrdiff_t>(at));
    out.words.assign(command.words.begin() + static_cast<std::ptrdiff_t>(at) + 1, command.words.end());
  }
  if (!launcher.empty()) settle_ranks(launcher, script.batch_options, out);
  if (!found) {  // a list of options, each line of which reads as a command
    for (const ShellCommand& command : script.commands) {
      if (!out.words.empty() || command.words[0].starts_with("-") ||
          command.words[0].find('=') != std::string::npos)
        out.words.insert(out.words.end(), command.words.begin(), command.words.end());
    }
  }
  out.settings["is_script"] = found ? "true" : "false";
  note_environment(script.variables, out);
  add_findings(script, out);
  out.documents = std::move(script.documents);
  return out;
}

bool is_number(const std::string& word) {
  return word.size() > 1 && word[0] == '-' &&
         word.find_first_not_of("0123456789.eE-", 1) == std::string::npos;
}

}  // namespace

TrainingCommand training_command(const LaunchAsk& ask, std::string_view text) {
  TrainingCommand out = find_command(ask, text, ask.variables, 0);
  if (out.program.empty() && out.words.empty())
    throw InputError(ask.file, "",
                     "starts no program: neither a .py file, nor -m MODULE, nor options are there");
  return out;
}

std::vector<GivenOption> dashed_options(const std::vector<std::string>& words,
                                        std::vector<Finding>& findings) {
  std::vector<GivenOption> out;
  for (const std::string& word : words) {
    if (word.starts_with("-") && word.size() > 1 && !is_number(word)) {
      const std::size_t equals = word.find('=');
      out.push_back({word.substr(0, equals), {}});
      if (equals != std::string::npos) out.back().values.push_back(word.substr(equals + 1));
    } else if (word.starts_with("${") && word.ends_with("}") && (out.empty() || !out.back().values.empty())) {
      findings.push_back(
          {Severity::warn, "launch",
           fmt::format("{} is set outside the file: options in it are not read", printable(word))});
    } else if (out.empty()) {
      findings.push_back(
          {Severity::warn, "launch", fmt::format("\"{}\" stands before any option", printable(word))});
    } else {
      out.back().values.push_back(word);
    }
  }
  return out;
}

}  // namespace tw::preflight
