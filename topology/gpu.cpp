#include "topology/gpu.hpp"

#include <algorithm>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

const std::vector<std::string> kArchitectures = {"ampere", "hopper", "ada", "blackwell", "cpu"};

void check_gpu(const Gpu& gpu, const JsonView& file) {
  const auto positive = [&](bool good, std::string_view key) {
    if (!good) file.at(key).fail("must be more than zero");
  };
  positive(gpu.sms > 0, "sms");
  positive(gpu.bf16.value > 0, "bf16");
  positive(gpu.memory.count > 0, "memory");
  positive(gpu.memory_rate.value > 0, "memory_rate");
  positive(gpu.power.value > 0, "power");
  positive(gpu.pcie_one_way.value > 0, "pcie_one_way");
  if (std::find(kArchitectures.begin(), kArchitectures.end(), gpu.architecture) == kArchitectures.end()) {
    file.at("architecture")
        .fail("unknown value \"" + printable(gpu.architecture) + "\"; legal: " + joined(kArchitectures));
  }
  if (gpu.source.empty()) file.at("source").fail("must say where the numbers come from");
}

}  // namespace

Gpu load_gpu(std::string_view name_or_path) {
  const JsonView file = load_json(scenario_path("gpus", name_or_path));
  const Gpu gpu = read<Gpu>(file);
  check_gpu(gpu, file);
  return gpu;
}

}  // namespace tw
