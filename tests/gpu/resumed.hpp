// A run saved by the GPU's engine or the CPU's goes on in the other, and in another layout: with the same
// states to the last bit, from the same file to the last byte, and with losses that bf16 tells apart no more
// than those of two layouts (kTimes roundings of bf16).
#pragma once

#include "kernels/backend/cpu/mpi.hpp"
#include "tests/gpu/device_cases.hpp"

namespace tw::train {

class Resumed {
 public:
  Resumed(const cpu::MpiProcess& process, Messages& messages);
  ~Resumed();
  Resumed(const Resumed&) = delete;
  Resumed& operator=(const Resumed&) = delete;

  void compare(const ResumedCase& one);  // all ranks together
  // On the first rank.
  int count() const { return count_; }
  int wrong() const { return wrong_; }
  bool verbose = false;

 private:
  template <class From, class To>
  void pair(const ResumedCase& one, const char* engines);

  const cpu::MpiProcess& process_;
  Messages& messages_;
  std::string folder_;
  int count_ = 0, wrong_ = 0;
};

}  // namespace tw::train
