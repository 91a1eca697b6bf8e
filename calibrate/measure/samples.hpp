// Times of one thing, repeated: median, spread, and when there are enough of them.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tw {

struct Summary {
  double median = 0;  // seconds
  double fast = 0;    // the 10th percentile: what others on the machine disturb least
  double spread = 0;  // half the distance between the 16th and the 84th percentile, over the median
  int count = 0;
};

class Samples {
 public:
  void add(const std::string& key, double seconds) { times_[key].push_back(seconds); }
  const std::map<std::string, std::vector<double>>& times() const { return times_; }
  // Relative standard error of the median of the worst key that takes at least `share` of the whole.
  double worst_error(double share) const;

 private:
  std::map<std::string, std::vector<double>> times_;
};

Summary summary_of(std::vector<double> seconds);

}  // namespace tw
