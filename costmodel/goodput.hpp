// What failures cost a job that writes checkpoints: the share of its time that is work kept, the interval
// that loses least, and the share of time that it waits for repairs with some spare nodes. Failures are
// independent of each other and of age (exponential), and may fall into a checkpoint or a restart.
#pragma once

#include <cstdint>

#include "topology/units.hpp"

namespace tw {

// Of a whole job. All finite and not negative, `between` above zero.
struct Failures {
  Seconds between;  // mean time between two failures of the job
  Seconds write;    // of one checkpoint, during which the job stands still
  Seconds restart;  // from a failure until work goes on from the last checkpoint
};

// sqrt(2 write between): Young 1974, "A first order approximation to the optimum checkpoint interval",
// Communications of the ACM 17(9), for write far below between.
Seconds young_interval(const Failures& failures);
// Young's with two more terms, and `between` where write is 2 between or more: Daly 2006, "A higher order
// estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), equation 37.
Seconds daly_interval(const Failures& failures);

// Work kept over time passed, with a checkpoint after every `interval` of work: the inverse of Daly 2006,
// equation 20, T(wall) = M e^(R/M) (e^((interval + write)/M) - 1) T(work)/interval.
double goodput(const Failures& failures, Seconds interval);

// Share of time in which all of `servers` are busy, by an offered load in servers: Erlang 1917, by the
// recursion B(n) = a B(n-1) / (n + a B(n-1)). Nodes under repair, of a job that runs while no more than
// `spares` are: it stands still for erlang_b(spares + 1, failures during one repair) of the time, whatever
// the distribution of repairs (derived: the job that stands still has no failures, so spares + 1 is the
// most that are ever under repair).
double erlang_b(std::int32_t servers, double load);

}  // namespace tw
