#include "topology/gpu.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

TEST(Gpu, DataSheetValues) {
  const Gpu h100 = load_gpu("h100-sxm");
  EXPECT_EQ(h100.sms, 132);
  EXPECT_EQ(in_tflops(h100.bf16), 989);
  EXPECT_EQ(h100.memory.count, std::int64_t{81559} * 1024 * 1024);
  EXPECT_EQ(in_gbps(h100.nvlink_one_way), 450);  // 18 links x 25 GB/s
  EXPECT_EQ(in_gbps(load_gpu("h800").nvlink_one_way), 200);
  EXPECT_EQ(in_gbps(load_gpu("a100-80g-sxm").nvlink_one_way), 300);  // 12 links x 25 GB/s
  EXPECT_EQ(in_gbps(load_gpu("gb200").nvlink_one_way), 900);         // 18 links x 50 GB/s
  EXPECT_EQ(load_gpu("rtx-4090").nvlink_one_way.value, 0);
  EXPECT_EQ(load_gpu("a100-40g").fp8->value, 0);
}

TEST(Gpu, EveryShippedGpuReadsBackFromItsOwnJson) {
  const std::vector<std::string> names = scenario_names("gpus");
  EXPECT_EQ(names.size(), 13u);
  for (const std::string& name : names) {
    const Gpu gpu = load_gpu(name);
    EXPECT_EQ(read<Gpu>(parse_json(to_json(gpu).dump(), name)), gpu) << name;
  }
}

TEST(Gpu, BrokenFilesGiveOneLineEach) {
  const std::string good = read_file(scenario_path("gpus", "h100-sxm"));
  const std::string path = testing::TempDir() + "gpu_test.json";
  const std::vector<std::array<std::string, 3>> cases = {
      {"132", "0", "sms: must be more than zero"},
      {"\"989 TFLOP/s\"", "\"0 TFLOP/s\"", "bf16: must be more than zero"},
      {"\"989 TFLOP/s\"", "989", "bf16: a bare number"},
      {"\"81559 MiB\"", "\"0 B\"", "memory: must be more than zero"},
      {"\"3.35 TB/s\"", "\"0 TB/s\"", "memory_rate: must be more than zero"},
      {"\"64 GB/s\"", "\"0 GB/s\"", "pcie_one_way: must be more than zero"},
      {"\"700 W\"", "\"0 W\"", "power: must be more than zero"},
      {"\"700 W\"", "\"700 J\"", "power: wrong unit"},
      {"\"hopper\"", "\"hopper\\n2\"", "architecture: unknown value \"hopper\\x0a2\"; legal: ampere"},
      {"\"sms\"", "\"cores\"", "missing key \"sms\""},
  };
  for (const auto& [from, to, says] : cases) {
    std::string text = good;
    write_file(path, text.replace(text.find(from), from.size(), to));
    try {
      load_gpu(path);
      ADD_FAILURE() << to;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(path + ": " + says));
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace tw
