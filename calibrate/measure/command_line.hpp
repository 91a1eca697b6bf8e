// Options of the programs that measure.
#pragma once

#include <CLI/CLI.hpp>

#include "topology/check.hpp"

namespace tw {

// False where help was asked for, which one rank prints. InputError of the command line.
inline bool understood(CLI::App& app, int argc, char** argv, bool speaks) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_help) {
    if (speaks) app.exit(asked_for_help);
    return false;
  } catch (const CLI::ParseError& error) {
    throw InputError("command line", "", error.what());
  }
  return true;
}

}  // namespace tw
