// What a user asks of size: options as text, and what they load.
#pragma once

#include "planner/size/size.hpp"

namespace tw {

struct SizeOptions {
  Asked asked;
  std::string tokens, job, gpus, fixed;
  std::string deadline, budget, price;
  std::string operations = "published", mtbf, detect, restart, storage_rate, repair, spares;
};
void add_options(CLI::App& app, SizeOptions& options);

struct SizeAsked {
  Inputs inputs;
  SizeSettings settings;
};
SizeAsked load_size(const SizeOptions& options);  // InputError says what is legal

}  // namespace tw
