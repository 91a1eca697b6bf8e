// Models and layouts that the GPU's engine is tested with.
#pragma once

#include "tests/mpi/support.hpp"

namespace tw::train {

struct DeviceCase {
  std::string model, layout;
  std::int32_t ranks = 1;
};
// A run saved in one layout and resumed in another.
struct ResumedCase {
  std::string model, from, to;
  std::int32_t ranks = 1;
};

// A tensor or a loss may be kTimes as far off as rounding makes it; kFloor: one rounding of bf16.
inline constexpr double kTimes = 3, kFloor = 0x1p-8;

// Widths that the GPU's kernels take; otherwise as small_model.
Model device_model(const std::string& name);
ProgramInput device_input(const DeviceCase& one);
Settings device_settings(const std::string& model);
std::vector<DeviceCase> suite_for(std::int32_t ranks);
std::vector<ResumedCase> resumed_suite_for(std::int32_t ranks);

}  // namespace tw::train
