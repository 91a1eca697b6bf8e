// The options of a target as data (scenarios/launch/NAME.json): class, meaning, what versions changed,
// and rules about them, all from the target's own parser at a stated commit.
#pragma once

#include "planner/preflight/launch.hpp"
#include "topology/described.hpp"

namespace tw::preflight {

enum class Takes : std::uint8_t { flag, value, list };
constexpr auto enum_names(const Takes*) {
  return std::array<std::pair<Takes, std::string_view>, 3>{
      {{Takes::flag, "flag"}, {Takes::value, "value"}, {Takes::list, "list"}}};
}

// Options without anything of their own: each means the setting that its name spells.
struct OptionGroup {
  OptionKind kind = OptionKind::unknown;
  Takes takes = Takes::value;
  std::vector<std::string> names;
};
TW_DESCRIBE(OptionGroup, kind, takes, names);

struct OptionRow {
  std::string name;
  OptionKind kind = OptionKind::unknown;
  Takes takes = Takes::value;
  Defaulted<std::string> means;                 // another setting than the name spells
  Defaulted<std::string> value;                 // of a flag; else "true"
  Defaulted<std::vector<std::string>> choices;  // empty: any
  Defaulted<std::string> note;                  // what a version changed
  Defaulted<std::string> refused;               // why the target refuses it
};
TW_DESCRIBE(OptionRow, name, kind, takes, means, value, choices, note, refused);

// Holds where all of `when` do: "KEY = VALUE", !=, >, <, >=, <=, "KEY given", "KEY absent"; a value may be
// another key. Then it is found, and the profile changes by `profile` and by `numbers` (path: key).
struct Rule {
  std::vector<std::string> when;
  Defaulted<std::string> verdict, about, text, framework;
  std::optional<JsonView> profile;
  Defaulted<std::map<std::string, std::string>> numbers;
};
TW_DESCRIBE(Rule, when, verdict, about, text, framework, profile, numbers);

struct OptionTable {
  std::string title, repository, parser, commit, framework;
  std::vector<OptionGroup> groups;
  std::vector<OptionRow> options;
  std::vector<Rule> rules;
  Defaulted<std::map<std::string, std::string>> models;  // the target's name of a model: ours
  std::vector<std::string> source;
};
TW_DESCRIBE(OptionTable, title, repository, parser, commit, framework, groups, options, rules, models,
            source);

// Loaded once; rows by name.
class Options {
 public:
  explicit Options(std::string_view target);
  const OptionTable& table() const { return table_; }
  const OptionRow* find(std::string_view name) const;  // by name, or by "section.*"; nullptr: unknown
  // The option that means a setting, of those that take a value or switch it to `value`: the one that spells
  // it, or the first with the earliest of the prefixes.
  const OptionRow* of_setting(std::string_view key, std::string_view value,
                              std::span<const std::string_view> prefixes = {}) const;

 private:
  OptionTable table_;
  std::map<std::string, OptionRow, std::less<>> rows_;
};
const Options& options_of(std::string_view target);

// Given options -> classes and settings; what is unknown, refused or changed is found.
void classify(const Options& options, const GivenLaunch& given, Launch& launch);
// "--a-b.c" -> "a_b.c".
std::string spelled(std::string_view option);

// The rules that hold; `facts` are settings and what was understood of them.
std::vector<const Rule*> holding(const OptionTable& table, const Settings& facts);
std::string filled(std::string_view text, const Settings& facts);  // {key} -> its value

}  // namespace tw::preflight
