// The scenario files that rows are predicted from, each parsed once. Values may be replaced in memory,
// so that other constants are tried without writing a file. A copy shares what is parsed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "planner/validate/source_rules.hpp"
#include "topology/json.hpp"

namespace tw::validate {

class Scenarios {
 public:
  // A name in scenarios/KIND, or a path.
  const JsonView& file(std::string_view kind, std::string_view name_or_path);
  const SourceRules& rules();
  // `file`: below scenarios/.
  JsonView at(const std::string& file, std::string_view pointer);
  void set(const std::string& file, std::string_view pointer, const Json& value);

 private:
  JsonView& parsed(const std::string& path);

  std::map<std::string, JsonView> files_;
  std::optional<SourceRules> rules_;
};

}  // namespace tw::validate
