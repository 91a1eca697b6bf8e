#include "planner/confirm/runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/child.hpp"
#include "planner/preflight/command_line.hpp"
#include "planner/preflight/run_log.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"
#include "topology/units.hpp"

namespace tw {
namespace {

using preflight::RunLog;

const LaunchFormat& format_of(const std::string& target) {
  if (const LaunchFormat* found = find_row(all_launch(), target)) return *found;
  throw InputError(
      "command line", "--to",
      fmt::format("\"{}\" is no launch format; legal: {}", printable(target), names_of(all_launch())));
}

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:/=+-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  return "'" + word + "'";  // exported words hold no quotes
}

// The words behind the program; torchtitan reads its file.
std::string arguments(const RunnerAsk& ask, const std::string& text) {
  if (ask.target == "torchtitan") return "--job.config_file " + quoted(ask.file);
  preflight::LaunchAsk read;
  read.file = ask.file;
  std::string out;
  for (const std::string& word : preflight::training_command(read, text).words)
    out += (out.empty() ? "" : " ") + quoted(word);
  return out;
}

std::string replaced_all(std::string text, std::string_view what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

double at_share(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

}  // namespace

std::optional<Measured> measured_in_log(const std::vector<std::string>& lines, double tokens_per_gpu,
                                        std::int64_t global_batch, std::int64_t warm_up) {
  preflight::RunLogReader reader(tokens_per_gpu, global_batch);
  for (const std::string& line : lines) reader.line(line);
  const RunLog& log = reader.log();
  if (log.steps.empty()) return std::nullopt;
  const auto warm =
      std::min(static_cast<std::size_t>(std::max<std::int64_t>(warm_up, 0)), log.steps.size() - 1);
  std::vector<double> seconds;
  for (std::size_t i = warm; i < log.steps.size(); ++i) seconds.push_back(log.steps[i].seconds);
  Measured out;
  out.median_s = at_share(seconds, 0.5), out.p10_s = at_share(seconds, 0.1),
  out.p90_s = at_share(seconds, 0.9);
  out.losses = log.losses;
  constexpr double kMostGib = 1e6;
  const double bytes = std::min(log.memory_gib, kMostGib) * parse_unit<Bytes>("1 GiB").value->to_double();
  out.memory_bytes = static_cast<std::int64_t>(bytes);
  return out;
}

void run_exported(const RunnerAsk& ask, ConfirmedLayout& layout,
                  const std::function<void(const std::string&)>& progress) {
  const LaunchFormat& format = format_of(ask.target);
  const std::string text = format.write(ask.launch);
  write_file(ask.file, text);
  const std::int32_t gpus = ask.launch.layout.gpus();
  std::string command = replaced_all(ask.runner, "{args}", arguments(ask, text));
  command = replaced_all(replaced_all(command, "{file}", quoted(ask.file)), "{gpus}", std::to_string(gpus));
  std::vector<std::string> lines;
  ChildLimits limits;
  limits.silence = std::chrono::duration<double>(ask.silence);
  constexpr double kLongestRun = 24 * 3600.0;
  limits.whole = std::chrono::duration<double>(kLongestRun);
  const ChildResult ended = run_child({"sh", "-c", command + " 2>&1"}, limits, [&](const std::string& line) {
    lines.push_back(line);
    progress(line);
  });
  const double tokens = static_cast<double>(ask.launch.global_batch) * ask.launch.seq / gpus;
  layout.measured = measured_in_log(lines, tokens, ask.launch.global_batch, ask.warm_up);
  const std::string last =
      lines.empty() ? "it printed nothing" : "its last line: " + printable(lines.back(), 200);
  if (!ended.good()) {
    layout.measured.reset();
    layout.failed =
        (ended.ended.empty() ? fmt::format("ended with code {}", ended.code) : ended.ended) + "; " + last;
  } else if (!layout.measured) {
    layout.failed = "no line of its log tells the time of a step; " + last;
  }
}

}  // namespace tw
