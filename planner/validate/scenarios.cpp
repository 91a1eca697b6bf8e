#include "planner/validate/scenarios.hpp"

#include "topology/registry.hpp"

namespace tw::validate {
namespace {

std::string path_of(const std::string& file) {
  return scenarios_folder() + "/" + file;
}

}  // namespace

JsonView& Scenarios::parsed(const std::string& path) {
  const auto found = files_.find(path);
  return found != files_.end() ? found->second : files_.emplace(path, load_json(path)).first->second;
}

const JsonView& Scenarios::file(std::string_view kind, std::string_view name_or_path) {
  return parsed(scenario_path(kind, name_or_path));
}

const SourceRules& Scenarios::rules() {
  if (!rules_) rules_ = source_rules_of(parsed(path_of("published/sources.json")));
  return *rules_;
}

JsonView Scenarios::at(const std::string& file, std::string_view pointer) {
  return at_pointer(parsed(path_of(file)), pointer);
}

void Scenarios::set(const std::string& file, std::string_view pointer, const Json& value) {
  JsonView& document = parsed(path_of(file));
  document = replaced(document, pointer, value);
  rules_.reset();
}

}  // namespace tw::validate
