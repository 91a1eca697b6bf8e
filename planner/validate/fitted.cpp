#include "planner/validate/fitted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw::validate {
namespace {

std::string published(const char* name) {
  return scenarios_folder() + "/published/" + name;
}

}  // namespace

Amount amount_of(const std::string& text) {
  char* end = nullptr;
  Amount out{std::strtod(text.c_str(), &end), {}};
  const std::size_t used = static_cast<std::size_t>(end - text.c_str());
  if (used == 0) throw InputError(printable(text), "", "must be a number, with its unit if it has one");
  if (used < text.size()) out.unit = text.substr(used + (text[used] == ' '));
  return out;
}

std::string text_of(const Amount& amount) {
  return fmt::format("{:.3g}", amount.number) + (amount.unit.empty() ? "" : " " + amount.unit);
}

Amount amount_at(const JsonView& node) {
  return node.is_string() ? amount_of(node.string()) : Amount{node.number(), {}};
}

void set(Scenarios& scenarios, const std::vector<Place>& places, const std::string& value) {
  const Amount amount = amount_of(value);
  for (const Place& place : places)
    scenarios.set(place.file, place.pointer, amount.unit.empty() ? Json(amount.number) : Json(value));
}

FittedList load_fitted() {
  return load<FittedList>(published("fitted.json"));
}

std::vector<Study> load_studies() {
  return load<StudyList>(published("studies.json")).studies;
}

const Study* study_of(const std::vector<Study>& studies, const std::string& source) {
  const auto found = std::find_if(studies.begin(), studies.end(), [&](const Study& study) {
    return source.find(study.match) != std::string::npos;
  });
  return found == studies.end() ? nullptr : &*found;
}

Scenarios neutral(const FittedList& list) {
  Scenarios out;
  for (const FittedConstant& constant : list.constants) set(out, constant.places, constant.neutral);
  for (const FittedElsewhere& constant : list.elsewhere) set(out, constant.places, constant.neutral);
  return out;
}

bool depends_on(const FittedList& list, const std::string& study) {
  return std::any_of(list.constants.begin(), list.constants.end(),
                     [&](const FittedConstant& constant) { return constant.left_out.contains(study); });
}

Scenarios left_out(const FittedList& list, const std::string& study) {
  Scenarios out;
  for (const FittedConstant& constant : list.constants) {
    const auto found = constant.left_out.find(study);
    if (found != constant.left_out.end()) set(out, constant.places, found->second);
  }
  return out;
}

}  // namespace tw::validate
