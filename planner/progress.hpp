// Progress of long work on standard error, where that is a terminal: share done and time left.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace tw {

class Progress {
 public:
  Progress(bool wanted, std::string what);
  ~Progress();  // clears its line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Empty where nothing is shown, so that nothing is paid.
  std::function<void(double share)> report();

 private:
  void show(double share);

  bool shown_;
  bool drawn_ = false;
  std::string what_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace tw
