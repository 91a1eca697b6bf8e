// Independent tasks side by side, one thread per core; each task makes its own evaluator. Results do not
// depend on how many threads there are.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "planner/progress.hpp"

namespace tw {

// How many tasks run side by side.
std::size_t parallel_tasks();

// Calls task(i) once for each i below `count`, the last first (the largest, where tasks grow). Where some
// throw, the error of the lowest index is thrown when all are done.
void for_each_parallel(std::size_t count, const std::function<void(std::size_t)>& task);

// Progress of such tasks: the mean of their shares.
class JointProgress {
 public:
  JointProgress(bool wanted, std::string what, std::size_t tasks);
  std::function<void(double share)> report(std::size_t task);  // empty where nothing is shown

 private:
  Progress progress_;
  std::function<void(double)> show_;
  std::mutex mutex_;
  std::vector<double> shares_;
};

}  // namespace tw
