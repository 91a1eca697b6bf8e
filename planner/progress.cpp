#include "planner/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace tw {
namespace {

constexpr double kEvery = 0.2;  // seconds between two lines

double since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

}  // namespace

Progress::Progress(bool wanted, std::string what)
    : shown_(wanted && ::isatty(STDERR_FILENO) != 0),
      what_(std::move(what)),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

std::function<void(double share)> Progress::report() {
  if (!shown_) return {};
  return [this](double share) { show(share); };
}

void Progress::show(double share) {
  if (since(last_) < kEvery) return;
  last_ = std::chrono::steady_clock::now();
  const double left = since(start_) * (1 - share) / share;
  std::fputs(fmt::format("\r\x1b[K{}: {:.0f}%, {:.0f} s left", what_, 100 * share, left).c_str(), stderr);
  drawn_ = true;
}

}  // namespace tw
