// What trainwright-calibrate --quick prints, in one line, and check --machine holds against a calibration.
#pragma once

#include <vector>

#include "costmodel/curves.hpp"

namespace tw {

struct QuickExchange {
  Collective collective = Collective::all_reduce;
  Bytes bytes;  // as calibration.hpp defines them
  Seconds time;
};
TW_DESCRIBE(QuickExchange, collective, bytes, time);

struct QuickRows {
  std::vector<QuickExchange> exchanges;  // of all ranks: the 10th percentile of each kind and size
  std::vector<double> rank_seconds;      // of the same work, by each rank alone, all at once
};
TW_DESCRIBE(QuickRows, exchanges, rank_seconds);

}  // namespace tw
