// Words of a shell script: quotes and expansions. Private to shell.cpp.
#pragma once

#include <optional>

#include "planner/preflight/shell.hpp"

namespace tw::preflight {

// The text and where reading stands in it.
struct ShellText {
  std::string_view text, file;
  std::size_t at = 0;
  int line = 1;
  int depth = 0;  // of words inside words

  bool ended() const { return at >= text.size(); }
  char here() const { return ended() ? '\0' : text[at]; }
  char next() const { return at + 1 < text.size() ? text[at + 1] : '\0'; }
  char take();
  bool starts(std::string_view with) const { return text.substr(at).starts_with(with); }
  [[noreturn]] void fail(const std::string& why) const;
};

// Fields of the word that begins here: none where an unquoted expansion is empty, several where it holds
// blanks. Ends before a blank or an operator.
std::vector<std::string> read_word(ShellText& in, ShellVariables& variables);
// One string, as between double quotes.
std::string expand(std::string_view text, const ShellText& within, ShellVariables& variables);
// Whole numbers, + - * / % and brackets.
std::optional<std::int64_t> arithmetic(std::string_view text);
// What stands up to the bracket that closes the one before `at`.
std::string_view take_closed(ShellText& in, char open, char close);
bool is_name(std::string_view text);

}  // namespace tw::preflight
