// A subcommand of trainwright: one file of commands/ each. setup() declares its options on CLI11's
// App and returns what runs once they are parsed; that returns the exit code (see main.cpp).
#pragma once

#include <functional>
#include <span>
#include <string_view>

namespace CLI {
class App;
}

namespace tw {

inline constexpr int kAnswered = 0, kBadInput = 2, kNothingFits = 3, kRunFailed = 4, kWarned = 5;

struct Command {
  std::string_view name;
  int order;  // of display
  std::string_view help;
  std::function<int()> (*setup)(CLI::App& app);
};
std::span<const Command* const> all_commands();

}  // namespace tw
