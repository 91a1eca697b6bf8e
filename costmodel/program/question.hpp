// What a user asks to be run, as text, made into the input of a Program; InputError says which option is
// wrong and what is legal.
#pragma once

#include "costmodel/program/program.hpp"

namespace tw {

struct RunQuestion {
  std::string model, arrangement;  // --model and --layout as typed
  std::string framework = "trainwright";
  std::int32_t ranks = 1;  // that were started
  std::int64_t global_batch = 0;
  std::int32_t seq = 0;
};
ProgramInput program_input(const RunQuestion& asked);

}  // namespace tw
