#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <regex>
#include <set>

#include "tests/unit/house/source.hpp"

namespace tw::house {
namespace {

// Folders depend one way; tests may use all.
const std::map<std::string, std::set<std::string>>& may_use() {
  static const std::map<std::string, std::set<std::string>> table = {
      {"topology", {"topology"}},
      {"costmodel", {"costmodel", "topology"}},
      {"reports", {"reports", "costmodel", "topology"}},
      {"planner", {"planner", "reports", "costmodel", "topology"}},
      {"kernels", {"kernels", "topology"}},
      {"kernels/backend/virtual", {"kernels", "costmodel", "topology"}},  // counts: reads a Program
      {"calibrate",
       {"calibrate", "train", "kernels", "costmodel", "topology"}},  // it times the trainer's steps
      {"train", {"train", "kernels", "costmodel", "topology"}},
      {"tests", {"tests", "topology", "costmodel", "reports", "planner", "kernels", "calibrate", "train"}},
  };
  return table;
}

std::string top_folder(std::string_view path) {
  constexpr std::string_view kCounts = "kernels/backend/virtual";
  if (path.starts_with(kCounts)) return std::string(kCounts);
  return std::string(path.substr(0, path.find('/')));
}

Findings per_line(const SourceFile& file, std::string_view text,
                  const std::function<std::string(const std::string& line)>& fault) {
  Findings findings;
  int number = 1;
  for (std::size_t begin = 0; begin <= text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string what = fault(std::string(text.substr(begin, end - begin)));
    if (!what.empty()) findings.push_back(file.path + ":" + std::to_string(number) + ": " + what);
    begin = end + 1;
  }
  return findings;
}

// A whole number of a literal's text, 0 if it is not one.
double whole_value(std::string text) {
  std::erase(text, '\'');
  const std::size_t end = text.find_first_not_of("0123456789");
  const std::string suffix = end == std::string::npos ? "" : text.substr(end);
  static const std::regex legal("(\\.0*f?|[uUlLzZ]*)");
  return std::regex_match(suffix, legal) && end != 0 ? std::stod(text) : 0;
}

bool is_factor(const std::string& literal) {
  static const std::regex exponent("[0-9.']*[eE]\\+?0*([3-9]|1[0-5])[fFlL]?");
  if (std::regex_match(literal, exponent)) return true;
  const double value = whole_value(literal);
  for (int i = 1; i <= 5; ++i) {
    if (value == std::pow(1000.0, i) || value == std::pow(1024.0, i)) return true;
  }
  return false;
}

std::string factor_in(const std::string& line) {
  static const std::regex shift("<<\\s*(10|20|30|40|50)\\b");
  static const std::regex literal("(^|[^A-Za-z0-9_.'])((?:[0-9]|\\.[0-9])(?:[eE][+-]|[A-Za-z0-9_.'])*)");
  static const std::regex limit("\\bconstexpr\\b.*\\bk(M(ax|ost)[A-Z]\\w*|\\w*Limit)\\s*=");
  if (std::regex_search(line, limit)) return "";
  std::smatch match;
  if (std::regex_search(line, match, shift))
    return "unit factor " + match.str() + "; it belongs in topology/units";
  for (auto it = std::sregex_iterator(line.begin(), line.end(), literal); it != std::sregex_iterator();
       ++it) {
    if (is_factor((*it)[2])) return "unit factor " + (*it)[2].str() + "; it belongs in topology/units";
  }
  return "";
}

}  // namespace

Findings forbidden_includes(const SourceFile& file) {
  const auto allowed = may_use().find(top_folder(file.path));
  if (allowed == may_use().end()) return {file.path + ":1: a folder that no rule knows"};
  static const std::regex include("\\s*#\\s*include\\s*\"([^\"]+)\".*");
  return per_line(file, file.text, [&](const std::string& line) -> std::string {
    std::smatch match;
    if (!std::regex_match(line, match, include)) return "";
    const std::string used = match[1];
    if (allowed->second.contains(used.substr(0, used.find('/'))) && used.find("..") == std::string::npos)
      return "";
    return allowed->first + " may not include \"" + used + "\"";
  });
}

Findings too_long(const SourceFile& file, int limit) {
  const auto lines = std::count(file.text.begin(), file.text.end(), '\n');
  if (lines <= limit) return {};
  return {file.path + ":" + std::to_string(limit) + ": " + std::to_string(lines) + " lines, at most " +
          std::to_string(limit)};
}

Findings unit_factors(const SourceFile& file) {
  return per_line(file, code_of(file.text), factor_in);
}

Findings words(const SourceFile& file, const std::vector<std::string>& forbidden) {
  std::string any;
  for (const std::string& word : forbidden) any += (any.empty() ? "" : "|") + word;
  const std::regex pattern("\\b(" + any + ")\\b");
  return per_line(file, code_of(file.text), [&](const std::string& line) -> std::string {
    std::smatch match;
    return std::regex_search(line, match, pattern) ? "\"" + match.str() + "\" has no place here" : "";
  });
}

Findings machine_paths(const SourceFile& file) {
  static const std::regex path(
      "(^|[^A-Za-z0-9_.*-])/("
      "work"
      "|"
      "root"
      "|"
      "tmp"
      "|"
      "home"
      ")/");
  return per_line(file, file.text, [](const std::string& line) -> std::string {
    return std::regex_search(line, path) ? "a path of one machine" : "";
  });
}

}  // namespace tw::house
