// Where a rank is, in a file that outlives it: one line, written through a mapping before each operation,
// so that whoever ends a hung or killed run can say what every rank was doing.
#pragma once

#include <string>
#include <vector>

#include "train/view.hpp"

namespace tw::train {

class Status {
 public:
  // PATH.RANK; InputError where it cannot be made.
  Status(const std::string& path, const View& view);
  ~Status();
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;

  // The rank is about to do this operation (an index of the view's steps) of that step of training.
  void at(std::size_t operation, std::int64_t step);

 private:
  static constexpr std::size_t kBytes = 256;
  char* line_ = nullptr;
  std::vector<std::string> names_;
};

}  // namespace tw::train
