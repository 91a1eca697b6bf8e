// Clusters of one node made in memory, with data-sheet figures, and the shipped calibrations.
#pragma once

#include <string>

#include "costmodel/calibration.hpp"

namespace tw::test {

struct Sheet {
  const char* architecture;
  std::int32_t sms;
  double bf16, memory_rate, nvlink, power;  // TFLOP/s, TB/s, GB/s, W
};
inline constexpr Sheet kH100{"hopper", 132, 989, 3.35, 450, 700};
inline constexpr Sheet kH200{"hopper", 132, 989, 4.8, 450, 700};
inline constexpr Sheet kH800{"hopper", 132, 989, 3.35, 200, 700};
inline constexpr Sheet kH100Low{"hopper", 132, 989, 2.39, 450, 500};
inline constexpr Sheet kA100{"ampere", 108, 312, 2.039, 300, 400};
inline constexpr Sheet kB200{"blackwell", 148, 2250, 8, 900, 1000};

inline Cluster cluster_of(const Sheet& sheet) {
  constexpr double kTera = 1e12, kGiga = 1e9;
  Cluster cluster;
  cluster.device.architecture = sheet.architecture;
  cluster.device.sms = sheet.sms;
  cluster.device.bf16 = FlopsPerSec(sheet.bf16 * kTera);
  cluster.device.memory_rate = BytesPerSec(sheet.memory_rate * kTera);
  cluster.device.nvlink_one_way = BytesPerSec(sheet.nvlink * kGiga);
  cluster.device.pcie_one_way = BytesPerSec(64 * kGiga);
  cluster.device.power = Watts(sheet.power);
  return cluster;
}

inline std::string shipped(const std::string& name) {
  return std::string(TW_SOURCE_DIR) + "/scenarios/calibrations/" + name + ".json";
}

inline Calibration calibration_of(const std::string& name, const Sheet& sheet) {
  return load_calibration(shipped(name), cluster_of(sheet));
}

inline GroupLinks in_node(std::int32_t ranks, double gigabytes = 450) {
  GroupLinks links;
  links.ranks = links.ranks_per_node = ranks;
  links.intra = BytesPerSec(gigabytes * 1e9);
  return links;
}

inline GroupLinks between(std::int32_t nodes, std::int32_t per_node) {
  GroupLinks links = in_node(per_node);
  links.ranks = nodes * per_node;
  links.nodes = nodes;
  links.tier = 1;
  links.inter = BytesPerSec(50e9);
  links.inter_latency = Seconds(1.3e-6);
  if (per_node == 1) links.intra = BytesPerSec(0);
  return links;
}

}  // namespace tw::test
