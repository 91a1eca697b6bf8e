#include "planner/preflight/option_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {
namespace {

std::string joined_values(const std::vector<std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < values.size(); ++i) out += (i > 0 ? " " : "") + values[i];
  return out;
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

struct Condition {
  std::string key, op, value;
};
Condition condition_of(const std::string& text) {
  const std::size_t first = text.find(' '), second = text.find(' ', first + 1);
  TW_CHECK(first != std::string::npos);
  if (second == std::string::npos) return {text.substr(0, first), text.substr(first + 1), ""};
  return {text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
}

bool compared(std::string_view left, std::string_view op, std::string_view right) {
  if (op == "=") return left == right;
  if (op == "!=") return left != right;
  const auto a = number_in(left), b = number_in(right);
  if (!a || !b) return false;
  if (op == ">") return *a > *b;
  if (op == "<") return *a < *b;
  if (op == ">=") return *a >= *b;
  TW_CHECK(op == "<=");
  return *a <= *b;
}

bool holds(const std::string& text, const Settings& facts) {
  const Condition c = condition_of(text);
  const auto found = facts.find(c.key);
  if (c.op == "given") return found != facts.end();
  if (c.op == "absent") return found == facts.end();
  const auto other = facts.find(c.value);
  const std::string& right = other != facts.end() ? other->second : c.value;
  return compared(found == facts.end() ? std::string_view() : std::string_view(found->second), c.op, right);
}

void take_values(const OptionRow& row, const GivenOption& given, Launch& launch) {
  const std::size_t most = row.takes == Takes::flag ? 0 : 1;
  if (row.takes == Takes::value && given.values.empty())
    return launch.add(Severity::fail, "options", fmt::format("{} needs a value", given.name));
  if (row.takes != Takes::list && given.values.size() > most) {
    launch.add(
        Severity::fail, "options",
        fmt::format("\"{}\" behind {} belongs to no option", printable(given.values[most]), given.name));
  }
  const auto& choices = *row.choices;
  if (!choices.empty() && !given.values.empty() && !is_open(given.values[0]) &&
      std::find(choices.begin(), choices.end(), given.values[0]) == choices.end()) {
    launch.add(Severity::fail, "options",
               fmt::format("{} \"{}\" is refused; legal: {}", given.name, printable(given.values[0]),
                           joined(choices)));
  }
  if (row.kind == OptionKind::irrelevant) return;
  const std::string key = row.means->empty() ? spelled(given.name) : *row.means;
  if (row.takes == Takes::flag)
    launch.settings[key] = row.value->empty() ? "true" : *row.value;
  else
    launch.settings[key] = row.takes == Takes::list ? joined_values(given.values) : given.values[0];
}

}  // namespace

std::string spelled(std::string_view option) {
  while (option.starts_with('-')) option.remove_prefix(1);
  std::string out(option);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

Options::Options(std::string_view target)
    : table_(read<OptionTable>(load_json(scenario_path("launch", target)))) {
  for (const OptionGroup& group : table_.groups) {
    for (const std::string& name : group.names) {
      OptionRow row;
      row.name = name, row.kind = group.kind, row.takes = group.takes;
      rows_.emplace(name, std::move(row));
    }
  }
  for (const OptionRow& row : table_.options) rows_.insert_or_assign(row.name, row);
}

const OptionRow* Options::find(std::string_view name) const {
  std::string key(name);
  for (std::size_t dot = key.size(); dot != std::string::npos; dot = key.rfind('.')) {
    const bool whole = dot == key.size();
    if (!whole) key.resize(dot);
    const auto found = rows_.find(whole ? key : key + ".*");
    if (found != rows_.end()) return &found->second;
    if (whole && key.find('.') == std::string::npos) break;
  }
  return nullptr;
}

namespace {

std::size_t rank_of(const OptionRow& row, std::string_view key, std::span<const std::string_view> prefixes) {
  if (prefixes.empty()) return spelled(row.name) == key ? 0 : 1;
  for (std::size_t i = 0; i < prefixes.size(); ++i) {
    if (row.name.starts_with(prefixes[i])) return i;
  }
  return std::string::npos;
}

}  // namespace

const OptionRow* Options::of_setting(std::string_view key, std::string_view value,
                                     std::span<const std::string_view> prefixes) const {
  const OptionRow* best = nullptr;
  std::size_t lowest = std::string::npos;
  for (const auto& [name, row] : rows_) {
    if (row.kind == OptionKind::irrelevant || !row.note->empty() || !row.refused->empty()) continue;
    if ((row.means->empty() ? spelled(row.name) : *row.means) != key) continue;
    if (row.takes == Takes::flag && (row.value->empty() ? "true" : *row.value) != value) continue;
    if (const std::size_t rank = rank_of(row, key, prefixes); rank < lowest) best = &row, lowest = rank;
  }
  return best;
}

const Options& options_of(std::string_view target) {
  static std::mutex mutex;
  static std::map<std::string, Options, std::less<>> loaded;
  const std::lock_guard lock(mutex);
  const auto found = loaded.find(target);
  if (found != loaded.end()) return found->second;
  return loaded.emplace(std::string(target), Options(target)).first->second;
}

void classify(const Options& options, const GivenLaunch& given, Launch& launch) {
  launch.findings = given.findings;
  launch.settings = given.settings;
  launch.framework = options.table().framework;
  for (const GivenOption& each : given.options) {
    const OptionRow* row = options.find(each.name);
    launch.options.push_back({each.name, joined_values(each.values), row ? row->kind : OptionKind::unknown});
    if (row == nullptr) {
      launch.add(Severity::warn, "unknown",
                 fmt::format("{} is no option of {} at {}: what it does is not known", printable(each.name),
                             options.table().repository, options.table().commit.substr(0, 12)));
      continue;
    }
    if (!row->refused->empty())
      launch.add(Severity::fail, "version", fmt::format("{} {}", each.name, *row->refused));
    if (!row->note->empty())
      launch.add(row->kind == OptionKind::irrelevant ? Severity::note : Severity::warn, "version",
                 fmt::format("{} {}", each.name, *row->note));
    take_values(*row, each, launch);
  }
}

std::vector<const Rule*> holding(const OptionTable& table, const Settings& facts) {
  std::vector<const Rule*> out;
  for (const Rule& rule : table.rules) {
    const bool all = std::all_of(rule.when.begin(), rule.when.end(),
                                 [&](const std::string& each) { return holds(each, facts); });
    if (all) out.push_back(&rule);
  }
  return out;
}

std::string filled(std::string_view text, const Settings& facts) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t close = text[i] == '{' ? text.find('}', i) : std::string_view::npos;
    if (close == std::string_view::npos) {
      out += text[i++];
      continue;
    }
    const auto found = facts.find(text.substr(i + 1, close - i - 1));
    out += found == facts.end() ? "" : printable(found->second);
    i = close + 1;
  }
  return out;
}

}  // namespace tw::preflight
