// The cluster and the framework profile of a row.
#pragma once

#include "costmodel/profile.hpp"
#include "planner/validate/row.hpp"
#include "planner/validate/scenarios.hpp"
#include "topology/cluster.hpp"

namespace tw::validate {

struct FilledCluster {
  Cluster cluster;
  std::string why_not;
};
// The GPU's cluster in scenarios/clusters at the row's size, with the row's network rate.
FilledCluster fill_cluster(const Row& row, std::vector<std::string>& filled);

// `framework` wins over the row and the source's rule; empty: not given.
Profile fill_profile(const Row& row, Scenarios& scenarios, const std::string& framework,
                     std::vector<std::string>& filled);

}  // namespace tw::validate
