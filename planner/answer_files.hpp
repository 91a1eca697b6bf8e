// Where a command's result goes beside the terminal: --json and --report, for every command alike.
#pragma once

#include <string>

#include "topology/json.hpp"

namespace CLI {
class App;
}

namespace tw {

struct AnswerFiles {
  std::string json, report;  // paths; empty: none; json "-": standard output

  bool alone() const { return json == "-"; }  // standard output carries the JSON and nothing else
  // Fails before any work is done where a file cannot be written or a page cannot be drawn.
  void check() const;
  void write(const Json& result) const;
};

void add_options(CLI::App& app, AnswerFiles& files, const std::string& json_help);

}  // namespace tw
