// Shapes of GEMMs to measure: a grid to fit on, and layers of shipped models to judge the fit by.
#pragma once

#include <cstdint>
#include <vector>

namespace tw::gpu {

struct GemmSize {
  std::int64_t m, n, k;
};
std::vector<GemmSize> grid_gemms();
std::vector<GemmSize> model_gemms();
std::vector<GemmSize> odd_gemms();

}  // namespace tw::gpu
