#include "planner/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <numeric>
#include <thread>

namespace tw {

std::size_t parallel_tasks() {
  return std::max(1u, std::thread::hardware_concurrency());
}

void for_each_parallel(std::size_t count, const std::function<void(std::size_t)>& task) {
  std::atomic<std::size_t> taken{0};
  std::vector<std::exception_ptr> errors(count);
  const auto work = [&] {
    for (std::size_t n = taken++; n < count; n = taken++) {
      const std::size_t i = count - 1 - n;
      try {
        task(i);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  const std::size_t threads = std::min(count, parallel_tasks());
  {
    std::vector<std::jthread> others;
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

JointProgress::JointProgress(bool wanted, std::string what, std::size_t tasks)
    : progress_(wanted, std::move(what)), show_(progress_.report()), shares_(tasks) {}

std::function<void(double share)> JointProgress::report(std::size_t task) {
  if (!show_) return {};
  return [this, task](double share) {
    const std::lock_guard lock(mutex_);
    shares_[task] = share;
    const double done = std::accumulate(shares_.begin(), shares_.end(), 0.0);
    if (done > 0) show_(done / static_cast<double>(shares_.size()));
  };
}

}  // namespace tw
