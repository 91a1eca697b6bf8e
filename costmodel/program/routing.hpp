// How unequal ranks of ep are where nothing has taught a router to spread its tokens. derived: if all tokens
// of a micro-batch chose the same experts at random, the chosen ones of a rank's share would be drawn without
// replacement (hypergeometric), and the load of a rank would deviate from the mean as they do. Tokens differ:
// measured deviations are a share of that, the likeness, and nearly the same one for 4 to 16 experts, 1 to 4
// of them chosen (0.5 to 0.6 of tiny-moe's kind, on text and on patterns). What trained routers do is not
// this.
#pragma once

#include <cstdint>

#include "costmodel/model.hpp"
#include "costmodel/program/work.hpp"

namespace tw {

// measured: 0.5 to 0.6 on CPUs (above); 0.49 between two H200s: ten steps of tests/gpu/models/small-moe.json, by the
// times of the experts' products of 32 layers and micro-batches.
inline constexpr double kFreshLikeness = 0.5;

// Standard deviation of a rank's load over the mean load, if all tokens chose alike.
double deviation_if_alike(const Moe& moe, std::int32_t ep);
// Mean of |deviation| of one rank over its standard deviation, and of the largest of ep that sum to zero, as
// of normal ones.
double mean_absolute_of_normal();
double largest_of_normals(std::int32_t ep);

// With max_over_mean that holds for `ep` ranks.
Routing for_ranks(Routing routing, const Moe* moe, std::int32_t ep);

}  // namespace tw
