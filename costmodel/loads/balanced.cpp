// Every expert gets the same, as auxiliary losses and bias updates aim at.
#include "costmodel/expert_load.hpp"

namespace tw::loads {
namespace {

std::vector<double> shares(const LoadAsk& ask) {
  return std::vector<double>(static_cast<std::size_t>(ask.experts), 1.0);
}

}  // namespace

extern constinit const ExpertLoad balanced;
constinit const ExpertLoad balanced = {"balanced", 1, "every expert gets the same", 0, 0, 0, shares};

}  // namespace tw::loads
