// The program trainwright: one subcommand per row of commands/. Exit codes: 0 answered, 2 bad input
// (one line on standard error), 3 nothing fits, 4 a measured run failed or disagreed.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <map>

#include "planner/command.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

constexpr const char* kAbout =
    "Trainwright: how many GPUs, and which parallel layout, for training a large language model.\n"
    "Start with:  trainwright plan --model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 --seq "
    "4096\n"
    "To train:    mpirun -n 4 trainwright-train --help\n"
    "Exit codes:  0 answered; 2 bad input (one line says what is legal); 3 no layout fits (the nearest "
    "misses)";

int complain(std::string_view message) {
  std::string line(message);
  std::replace(line.begin(), line.end(), '\n', ' ');
  while (!line.empty() && line.back() == ' ') line.pop_back();
  std::fprintf(stderr, "trainwright: %s\n", printable(line, 2000).c_str());
  return kBadInput;
}

// CLI11's own words for what was asked wrongly, with the subcommand that lists the legal options.
int complain(const CLI::ParseError& error, const CLI::App& app) {
  std::string who;
  for (const CLI::App* sub : app.get_subcommands()) who = " " + sub->get_name();
  const std::string legal = who.empty() ? "; commands: " + names_of(all_commands()) : "";
  return complain("command line: " + std::string(error.what()) + legal + "; see trainwright" + who +
                  " --help");
}

int run(int argc, char** argv) {
  CLI::App app(kAbout, "trainwright");
  app.set_version_flag("--version", "trainwright " TW_VERSION);
  app.require_subcommand(1);
  std::map<const CLI::App*, std::function<int()>> actions;
  for (const Command* command : in_display_order(all_commands())) {
    CLI::App* sub = app.add_subcommand(std::string(command->name), std::string(command->help));
    actions[sub] = command->setup(*sub);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return complain(error, app);
  }
  return actions.at(app.get_subcommands().front())();
}

}  // namespace
}  // namespace tw

int main(int argc, char** argv) {
  try {
    return tw::run(argc, argv);
  } catch (const tw::InputError& error) {
    return tw::complain(error.what());
  } catch (const std::bad_alloc&) {
    return tw::complain("out of memory");
  } catch (const std::exception& error) {
    return tw::complain(std::string("unexpected: ") + error.what() + "; please report this");
  }
}
