// Reads shell scripts that start training as people write them: variables, arrays, defaults, quotes,
// continuations, here-documents, simple tests and arithmetic (POSIX.1-2017, chapter 2, and bash arrays).
// Nothing is run. What is not understood is said by line, and what is not known stays as it is written.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tw::preflight {

// An array, or one value.
using ShellVariables = std::map<std::string, std::vector<std::string>, std::less<>>;

struct ShellCommand {
  int line = 0;
  std::vector<std::string> words;  // expanded; a variable that is not known stays "${NAME}"
};

struct ShellReading {
  std::vector<ShellCommand> commands;
  std::map<std::string, std::string> documents;  // written by here-documents, by file
  std::vector<std::string> not_understood;       // "line 7: ..."
  std::vector<std::string> assumed;              // "line 9: ${X} is taken as not set"
  std::vector<std::string> batch_options;        // words of #SBATCH lines
  ShellVariables variables;                      // as they end
};

// InputError at `file` where quotes, brackets or here-documents do not end.
ShellReading read_shell(std::string_view text, std::string_view file, const ShellVariables& given);
// Something in it is known at run time only.
bool is_open(std::string_view word);

}  // namespace tw::preflight
