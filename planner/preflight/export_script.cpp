#include "planner/preflight/export_script.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/preflight/megatron_words.hpp"
#include "planner/preflight/option_table.hpp"

namespace tw::preflight {
namespace {

std::string quoted(const std::string& value, bool list) {
  const std::string_view plain =
      list ? "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:/=+- "
           : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:/=+-";
  return value.find_first_not_of(plain) == std::string::npos ? value : "'" + value + "'";
}

}  // namespace

std::vector<std::string> option_lines(std::string_view target, const Settings& settings) {
  const Options& options = options_of(target);
  std::vector<std::string> out;
  for (const auto& [key, value] : settings) {
    const OptionRow* row = options.of_setting(key, value);
    if (row == nullptr && value == "false") continue;
    if (row == nullptr)
      cannot_say(target, key, fmt::format("it has no option that means {} = {}", key, value));
    out.push_back(row->takes == Takes::flag ? row->name
                                            : row->name + " " + quoted(value, row->takes == Takes::list));
  }
  return out;
}

std::string shell_script(const ScriptHead& head, const Settings& settings,
                         const std::vector<std::string>& more) {
  std::string out = fmt::format("#!/bin/bash\n# Written by trainwright export --to {}.\n", head.target);
  for (const auto& [name, value] : head.environment) out += fmt::format("export {}={}\n", name, value);
  const std::int32_t per_node = std::min(head.gpus, head.gpus_per_node);
  const std::int32_t nodes = head.gpus / per_node;
  out += head.before + "\nOPTIONS=(\n";
  for (const std::string& line : option_lines(head.target, settings)) out += "    " + line + "\n";
  for (const std::string& line : more) out += "    " + line + "\n";
  out += ")\n\n";
  if (head.launcher == "deepspeed") {
    out += fmt::format("deepspeed --num_nodes {} --num_gpus {} {} \"${{OPTIONS[@]}}\"\n", nodes, per_node,
                       head.program);
    return out;
  }
  out += fmt::format(
      "torchrun --nnodes {} --nproc_per_node {} --node_rank \"${{NODE_RANK:-0}}\" --master_addr "
      "\"${{MASTER_ADDR:-localhost}}\" --master_port \"${{MASTER_PORT:-6000}}\" {} \"${{OPTIONS[@]}}\"\n",
      nodes, per_node, head.program);
  return out;
}

}  // namespace tw::preflight
