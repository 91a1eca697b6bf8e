#include "planner/preflight/launch.hpp"

#include <fmt/format.h>

#include <charconv>

#include "planner/preflight/option_table.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {

std::optional<std::string> setting(const Settings& settings, std::string_view key) {
  const auto found = settings.find(key);
  return found == settings.end() ? std::nullopt : std::optional(found->second);
}

bool is_on(const Settings& settings, std::string_view key) {
  const auto value = setting(settings, key);
  return value && (*value == "true" || *value == "True" || *value == "1");
}

std::int64_t whole_of(const std::string& file, std::string_view key, const std::string& value) {
  if (is_open(value)) {
    throw InputError(
        file, key, fmt::format("{} is set outside the file; say it with --set NAME=VALUE", printable(value)));
  }
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc{} || end != value.data() + value.size() || value.empty())
    throw InputError(file, key, fmt::format("\"{}\" is not a whole number", printable(value)));
  return out;
}

std::int32_t whole(const Launch& launch, std::string_view key, std::int32_t absent) {
  const auto value = setting(launch.settings, key);
  if (!value || *value == "None" || *value == "null") return absent;
  const std::int64_t out = whole_of(launch.file, key, *value);
  if (out < INT32_MIN || out > INT32_MAX)
    throw InputError(launch.file, key, fmt::format("{} is out of range", printable(*value)));
  return static_cast<std::int32_t>(out);
}

const LaunchFormat& launch_format(std::string_view name, std::string_view path, std::string_view text) {
  const auto formats = all_launch();
  if (!name.empty()) {
    if (const LaunchFormat* found = find_row(formats, name)) return *found;
    throw InputError("command line", "--format",
                     fmt::format("\"{}\" is unknown; legal: {}", printable(name), names_of(formats)));
  }
  const LaunchFormat* best = nullptr;
  int likely = 0;
  for (const LaunchFormat* each : in_display_order(formats)) {
    if (const int own = each->likely(path, text); own > likely) best = each, likely = own;
  }
  if (best != nullptr) return *best;
  throw InputError(
      path, "",
      fmt::format("looks like the launch file of none of: {}; --format says which", names_of(formats)));
}

Launch read_launch(const LaunchAsk& ask, std::string_view text, const LaunchFormat& format) {
  Launch launch;
  launch.file = ask.file;
  classify(options_of(format.name), format.read(ask, text), launch);
  if (ask.global_batch > 0) launch.settings["global_batch_size"] = std::to_string(ask.global_batch);
  if (ask.seq > 0) launch.settings["seq_length"] = std::to_string(ask.seq);
  format.understand(ask, launch);
  return launch;
}

}  // namespace tw::preflight
