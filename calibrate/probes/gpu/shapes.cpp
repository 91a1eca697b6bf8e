#include "calibrate/probes/gpu/shapes.hpp"

namespace tw::gpu {
namespace {

// Features out and in: powers of two and half as much again, square, wide, narrow and deep.
constexpr std::int64_t kFeatures[][2] = {
    {512, 4096},  {4096, 512},   {1024, 1024},  {1024, 4096},  {4096, 1024},  {1536, 2048},
    {2048, 1536}, {2048, 2048},  {6144, 2048},  {2048, 6144},  {3072, 3072},  {24576, 3072},
    {4096, 4096}, {12288, 4096}, {4096, 12288}, {16384, 4096}, {4096, 16384}, {65536, 4096},
    {6144, 6144}, {1024, 8192},  {8192, 1024},  {8192, 8192},  {28672, 8192}, {8192, 28672}};
constexpr std::int64_t kTokens[] = {128, 512, 1024, 2048, 4096, 8192, 16384};

// Tokens, features out and in of layers of scenarios/models, none of them on the grid.
constexpr GemmSize kModels[] = {
    {2048, 640, 2880},     // gpt-oss-120b qkv tp 8
    {4096, 768, 4096},     // llama-3.1-8b qkv tp 8
    {8192, 1152, 3584},    // qwen2-57b-a14b qkv tp 4
    {2048, 1280, 2880},    // gpt-oss-120b qkv tp 4
    {4096, 1280, 5120},    // qwen3-32b qkv tp 8
    {8192, 1536, 4096},    // llama-3.1-8b qkv tp 4
    {2048, 2048, 1024},    // llama-3.2-1b out tp 2
    {4096, 2880, 512},     // gpt-oss-120b out tp 8
    {8192, 3584, 4096},    // glm-4.5-air qkv tp 4
    {2048, 3584, 5120},    // qwen3-14b qkv tp 2
    {4096, 4000, 4096},    // mixtral-8x7b head tp 8
    {8192, 4096, 2048},    // llama-3.1-8b out tp 2
    {2048, 4096, 14336},   // llama-3.1-8b down tp 1
    {4096, 4352, 5120},    // qwen3-14b up tp 8
    {8192, 4608, 2688},    // nemotron-3-nano-30b-a3b qkv tp 1
    {2048, 4608, 3584},    // qwen2-57b-a14b qkv tp 1
    {4096, 5120, 640},     // qwen3-14b out tp 8
    {8192, 5120, 2048},    // qwen3-30b-a3b qkv tp 1
    {2048, 5120, 2560},    // qwen3-14b out tp 2
    {4096, 6144, 1536},    // mixtral-8x22b out tp 4
    {8192, 6144, 4096},    // llama-3.1-8b qkv tp 1
    {2048, 6400, 5120},    // qwen3-32b up tp 8
    {4096, 7168, 5120},    // qwen3-14b qkv tp 1
    {8192, 8192, 14784},   // qwen2.5-72b down tp 2
    {2048, 10240, 5120},   // qwen3-32b qkv tp 1
    {4096, 12800, 5120},   // qwen3-32b up tp 4
    {8192, 14784, 8192},   // qwen2.5-72b up tp 4
    {2048, 16384, 13312},  // llama-3.1-405b down tp 4
    {4096, 16384, 16384},  // llama-3.1-405b out tp 1
    {8192, 16384, 26624},  // llama-3.1-405b down tp 2
    {2048, 16384, 53248},  // llama-3.1-405b down tp 1
    {4096, 32064, 2048},   // llama-3.2-1b head tp 4
    {8192, 32320, 7168},   // deepseek-v3 head tp 4
    {2048, 75968, 3584},   // qwen2-57b-a14b head tp 2
    {4096, 128256, 4096},  // llama-3.1-8b head tp 1
    {8192, 129280, 7168},  // deepseek-v3 head tp 1
};

// Sizes that are no multiple of 8 elements or of a tile.
constexpr GemmSize kOdd[] = {{3333, 4097, 5001}, {2048, 4095, 4096}, {2048, 4096, 4095}, {4096, 4100, 4100},
                             {1000, 4104, 4104}, {2049, 8192, 4096}, {8191, 5128, 2056}};

}  // namespace

std::vector<GemmSize> grid_gemms() {
  std::vector<GemmSize> all;
  for (const auto& [n, k] : kFeatures) {
    for (const std::int64_t m : kTokens) all.push_back({m, n, k});
  }
  return all;
}

std::vector<GemmSize> model_gemms() {
  return {std::begin(kModels), std::end(kModels)};
}

std::vector<GemmSize> odd_gemms() {
  return {std::begin(kOdd), std::end(kOdd)};
}

}  // namespace tw::gpu
