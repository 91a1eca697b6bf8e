#include "planner/preflight/shell_commands.hpp"

namespace tw::preflight {
namespace {

Truth truth_of(bool value) {
  return value ? Truth::yes : Truth::no;
}

}  // namespace

Truth tested(std::vector<std::string> words) {
  if (words.empty() || (words[0] != "[" && words[0] != "[[" && words[0] != "test")) return Truth::unknown;
  const bool bracket = words[0] != "test";
  words.erase(words.begin());
  if (bracket && !words.empty()) words.pop_back();
  const bool inverted = !words.empty() && words[0] == "!";
  if (inverted) words.erase(words.begin());
  const auto answer = [&](bool value) { return truth_of(value != inverted); };
  for (const std::string& word : words) {
    if (is_open(word)) return Truth::unknown;
  }
  if (words.size() == 2 && words[0] == "-z") return answer(words[1].empty());
  if (words.size() == 2 && words[0] == "-n") return answer(!words[1].empty());
  if (words.size() == 1) return answer(!words[0].empty());
  if (words.size() != 3) return Truth::unknown;
  const std::string& op = words[1];
  if (op == "=" || op == "==") return answer(words[0] == words[2]);
  if (op == "!=") return answer(words[0] != words[2]);
  const auto left = arithmetic(words[0]), right = arithmetic(words[2]);
  if (!left || !right) return Truth::unknown;
  if (op == "-eq") return answer(*left == *right);
  if (op == "-ne") return answer(*left != *right);
  if (op == "-gt") return answer(*left > *right);
  if (op == "-ge") return answer(*left >= *right);
  if (op == "-lt") return answer(*left < *right);
  if (op == "-le") return answer(*left <= *right);
  return Truth::unknown;
}

}  // namespace tw::preflight
