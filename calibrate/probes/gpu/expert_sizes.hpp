// Sizes of products of experts that probes measure, and how uneven loads are dealt.
#pragma once

#include <cstdint>
#include <vector>

namespace tw::gpu {

struct ExpertSize {
  std::int64_t experts, rows, n, k;
  const char* use;
};
inline constexpr ExpertSize kExpertSizes[] = {
    {8, 256, 4096, 4096, "fit"},     {8, 512, 4096, 4096, "fit"},    {8, 1024, 4096, 4096, "fit"},
    {8, 2048, 4096, 4096, "fit"},    {16, 64, 3072, 2048, "fit"},    {16, 128, 3072, 2048, "fit"},
    {16, 256, 3072, 2048, "fit"},    {16, 512, 3072, 2048, "fit"},   {16, 1024, 3072, 2048, "fit"},
    {16, 512, 2048, 1536, "fit"},    {32, 128, 4096, 6144, "fit"},   {32, 256, 4096, 6144, "fit"},
    {32, 512, 4096, 6144, "fit"},    {64, 128, 2048, 2048, "fit"},   {64, 256, 2048, 2048, "fit"},
    {64, 512, 2048, 2048, "fit"},    {128, 64, 1024, 2048, "fit"},   {128, 256, 1024, 2048, "fit"},
    {8, 1024, 16384, 4096, "fit"},   {8, 1024, 4096, 16384, "fit"},  {4, 2048, 8192, 4096, "fit"},
    {8, 1024, 28672, 4096, "check"}, {8, 512, 4096, 14336, "check"}, {2, 2048, 32768, 6144, "check"},
    {16, 512, 1536, 2048, "check"},  {16, 1024, 2048, 768, "check"}, {32, 256, 4096, 7168, "check"},
    {32, 512, 7168, 2048, "check"},  {64, 256, 2048, 1024, "check"}, {8, 1024, 5120, 3584, "check"}};

// The first expert has `percent` of the mean, the others share what is left alike.
inline std::vector<std::int64_t> rows_of_experts(std::int64_t experts, std::int64_t mean,
                                                 std::int64_t percent) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(experts), mean);
  rows[0] = mean * percent / 100;
  const std::int64_t left = experts * mean - rows[0];
  for (std::size_t e = 1; e < rows.size(); ++e)
    rows[e] = left / (experts - 1) + (static_cast<std::int64_t>(e) <= left % (experts - 1) ? 1 : 0);
  return rows;
}

}  // namespace tw::gpu
