// Number formats: read by memory, probes and kernels.
#pragma once

#include <cstdint>
#include <string_view>

#include "topology/units.hpp"

namespace tw {

enum class DType : std::uint8_t { fp64, fp32, bf16, fp16, fp8, int64, int32, uint8 };

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::int64_t bytes;
};

inline constexpr DTypeRow kDTypes[] = {
    {DType::fp64, "fp64", 8},   {DType::fp32, "fp32", 4},   {DType::bf16, "bf16", 2},
    {DType::fp16, "fp16", 2},   {DType::fp8, "fp8", 1},     {DType::int64, "int64", 8},
    {DType::int32, "int32", 4}, {DType::uint8, "uint8", 1},
};

constexpr std::int64_t size_of(DType dtype) {
  return kDTypes[static_cast<int>(dtype)].bytes;
}
constexpr std::string_view name_of(DType dtype) {
  return kDTypes[static_cast<int>(dtype)].name;
}

}  // namespace tw
