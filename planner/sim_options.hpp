// What simulate is asked to play beside a layout: slow ranks, jitter, links, experts; as typed, and as
// values.
#pragma once

#include <string>

#include "costmodel/sim/simulate.hpp"

namespace CLI {
class App;
}

namespace tw {

struct SimAsk {
  std::string slow, jitter, seed = "1", pieces = "1";
  std::string load = "balanced", placement = "none", replicas = "0", step = "0", slow_link, lost_link;
  bool unfold = false, no_contention = false;
};
void add_options(CLI::App& app, SimAsk& ask);
// InputError names the option.
// What of it is not as it always is: option and value.
std::vector<std::pair<std::string, std::string>> conditions_of(const SimAsk& ask);
SimSettings settings_of(const SimAsk& ask, std::int32_t ranks, const Cluster& cluster);

}  // namespace tw
