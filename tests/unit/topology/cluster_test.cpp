#include "topology/cluster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

std::string shipped(const std::string& name) {
  return read_file(scenario_path("clusters", name));
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string written(const std::string& text) {
  const std::string path = testing::TempDir() + "cluster_test.json";
  write_file(path, text);
  return path;
}

std::string error_of(const std::string& spec) {
  try {
    load_cluster(spec);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Cluster, EveryShippedClusterLoadsWithItsGpu) {
  const std::vector<std::string> names = scenario_names("clusters");
  EXPECT_EQ(names.size(), 14u);
  for (const std::string& name : names) {
    const Cluster cluster = load_cluster(name);
    EXPECT_EQ(cluster.name, name);
    EXPECT_GT(cluster.device.bf16.value, 0) << name;
    EXPECT_GE(cluster.gpus, 2) << name;
    EXPECT_FALSE(cluster.source.empty()) << name;
  }
}

TEST(Cluster, SpecResizes) {
  EXPECT_EQ(load_cluster("h100-sxm").gpus, 64);
  EXPECT_EQ(load_cluster("h100-sxm:16384").nodes(), 2048);
  EXPECT_EQ(load_cluster("h100-sxm:16384").pods(), 64);
  const Cluster part = load_cluster("h100-sxm:2");
  EXPECT_EQ(std::tuple(part.gpus, part.nodes(), part.gpus_per_node()), std::tuple(2, 1, 2));
}

TEST(Cluster, Nvl72MayBeUsedInSmallerParts) {
  const auto per_node = [](const std::string& spec) {
    const Cluster cluster = load_cluster(spec);
    return std::tuple(cluster.nodes(), cluster.gpus_per_node(), cluster.node.gpus, cluster.node.nics);
  };
  EXPECT_EQ(per_node("gb200-nvl72:64"), std::tuple(1, 64, 72, 72));
  EXPECT_EQ(per_node("gb200-nvl72:72"), std::tuple(1, 72, 72, 72));
  EXPECT_EQ(per_node("gb200-nvl72:144"), std::tuple(2, 72, 72, 72));
  EXPECT_EQ(per_node("gb200-nvl72:256"), std::tuple(4, 64, 64, 64));
  EXPECT_EQ(per_node("gb200-nvl72:96"), std::tuple(3, 32, 32, 32));
  const Cluster once = load_cluster("gb200-nvl72:256");
  EXPECT_EQ(resized(once, 144), load_cluster("gb200-nvl72:144"));  // nothing is forgotten
  EXPECT_EQ(resized(resized(once, 96), 256), once);
}

TEST(Cluster, GpuFileLiesBesideTheCluster) {
  write_file(testing::TempDir() + "my_gpu.json", read_file(scenario_path("gpus", "h200-sxm")));
  const Cluster cluster =
      load_cluster(written(replaced(shipped("h100-sxm"), "\"h100-sxm\"", "\"./my_gpu.json\"")));
  EXPECT_EQ(cluster.device, load_gpu("h200-sxm"));
  EXPECT_EQ(cluster.name, "cluster_test");
  EXPECT_EQ(load_cluster(testing::TempDir() + "cluster_test.json:128").gpus, 128);
}

struct Broken {
  std::string from, to, path, says;
};

TEST(Cluster, BrokenFilesGiveOneLineEach) {
  const std::string good =
      replaced(shipped("h100-sxm"), "\"calibration\"",
               "\"faults\": [{\"kind\": \"nic\", \"node\": 0, \"index\": 0}],\n \"calibration\"");
  ASSERT_EQ(error_of(written(good)), "accepted");
  const std::vector<Broken> cases = {
      {"\"gpus\": 64", "\"gpus\": 0", "gpus", "1 to 1048576"},
      {"\"gpus\": 64", "\"gpus\": -8", "gpus", "1 to 1048576"},
      {"\"gpus\": 64", "\"gpus\": 2097152", "gpus", "1 to 1048576"},
      {"\"gpus\": 64", "\"gpus\": 99999999999", "gpus", "out of range"},
      {"\"gpus\": 64", "\"gpus\": 12", "gpus", "legal: up to 8, or a multiple of 8"},
      {"\"gpus\": 64", "\"gpus\": 6.5", "gpus", "whole number"},
      {"\"gpus\": 64", "\"gpus\": \"64\"", "gpus", "whole number"},
      {"\"gpus\": 8", "\"gpus\": 0", "node.gpus", "1 to 1048576"},
      {"\"gpu\": \"h100-sxm\"", "\"gpu\": \"h101\"", "gpu", "known: a100-40g"},
      {"\"gpu\": \"h100-sxm\"", "\"gpu\": \"l40s\"", "node.link", "legal: pcie, host"},
      {"\"nvswitch\"", "\"nvlink\"", "node.link", "legal: nvswitch, nvlink-mesh, pcie, host"},
      {"\"switch_planes\": 4", "\"switch_planes\": 0", "node.switch_planes", "1 to 64"},
      {"\"nics\": 8", "\"nics\": 9", "node.nics", "0 to 8"},
      {"\"nics\": 8", "\"nics\": 0", "node.nics", "8 nodes"},
      {"\"nics\": 8", "\"nics\": -1", "node.nics", "0 to 8"},
      {"\"400 Gb/s\"", "\"0 Gb/s\"", "node.nic_rate", "more than zero"},
      {"\"400 Gb/s\"", "400", "node.nic_rate", "bare number"},
      {"\"400 Gb/s\"", "\"400 GiB\"", "node.nic_rate", "wrong unit"},
      {"\"1.2 us\"", "\"-1 us\"", "node.nic_latency", "negative"},
      {"\"nodes_per_pod\": 32", "\"nodes_per_pod\": 0", "network.nodes_per_pod", "at least 1"},
      {"\"oversubscription\": 1", "\"oversubscription\": 0.5", "network.oversubscription", "at least 1"},
      {"\"oversubscription\": 1", "\"oversubscription\": 1e999", "", "not valid JSON"},
      {"\"rails\": true", "\"rails\": 1", "network.rails", "true or false"},
      {"\"switch_latency\"", "\"latency\"", "network", "missing key \"switch_latency\""},
      {"\"title\"", "\"name\": 1, \"title\"", "", "unknown key \"name\""},
      {"\"kind\": \"nic\"", "\"kind\": \"cable\"", "faults[0].kind", "legal: nic, leaf_uplink, nvswitch"},
      {"\"node\": 0", "\"node\": 8", "faults[0].node", "0 to 7"},
      {"\"index\": 0", "\"index\": 8", "faults[0].index", "0 to 7"},
      {"\"index\": 0", "\"index\": 0, \"share\": 0", "faults[0].share", "more than 0"},
      {"\"index\": 0", "\"index\": 0, \"share\": 1.5", "faults[0].share", "at most 1"},
      {"{\"kind\": \"nic\"", "{\"kind\":\"nic\",\"node\":0,\"index\":0}, {\"kind\": \"nic\"", "faults[1]",
       "twice"},
      {"\"gpus\": 8", "\"also_used_as\": [8], \"gpus\": 8", "node.also_used_as", "1 to 7"},
      {"\"nics\": 8", "\"also_used_as\": [3], \"nics\": 4", "node.also_used_as", "no whole number"},
      {"\"gpus\": 64", "\"gpus\": 64, \"gpus\": 64", "", "duplicate key gpus"},
  };
  for (const Broken& broken : cases) {
    const std::string path = written(replaced(good, broken.from, broken.to));
    const std::string error = error_of(path);
    EXPECT_THAT(error, HasSubstr(path + ": " + broken.path)) << broken.to;
    EXPECT_THAT(error, HasSubstr(broken.says)) << broken.to;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(Cluster, FaultsMayNotCutANodeOff) {
  std::string seven;
  for (int nic = 0; nic < 7; ++nic) {
    if (nic > 0) seven += ',';
    seven += R"({"kind": "nic", "node": 5, "index": )";
    seven += std::to_string(nic);
    seven += '}';
  }
  const std::string eighth = R"(,{"kind": "nic", "node": 5, "index": 7})";
  const std::string leaf = R"(,{"kind": "leaf_uplink", "node": 0, "index": 7})";
  const auto file = [&](const std::string& list) {
    return written(
        replaced(shipped("h100-sxm"), "\"calibration\"", "\"faults\": [" + list + "], \"calibration\""));
  };
  EXPECT_THAT(error_of(file(seven + eighth)), HasSubstr("faults: node 5 is cut off"));
  EXPECT_EQ(error_of(file(seven)), "accepted");
  // One pod: its uplinks carry nothing. Two pods, seven NICs and the leaf of the eighth: cut off.
  EXPECT_EQ(error_of(file(seven + leaf)), "accepted");
  EXPECT_THAT(error_of(file(seven + leaf) + ":512"), HasSubstr("faults: node 5 is cut off"));
}

TEST(Cluster, BrokenSpecsGiveOneLineEach) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"h100-sxm:0", "h100-sxm:0: gpus: 0; must be 1 to 1048576"},
      {"h100-sxm:12", "h100-sxm:12: gpus: 12 GPUs are not whole nodes; legal: up to 8, or a multiple of 8"},
      {"gb200-nvl72:73", "legal: up to 72, or a multiple of 72, 64, 32, 16, 8, 4"},
      {"h100-sxm:99999999999999999999", "after \":\" must come the number of GPUs"},
      {"h100-sxm:", "after \":\" must come the number of GPUs"},
      {"h100-sxm:64x", "after \":\" must come the number of GPUs"},
      {"h100-sxm:-8", "must be 1 to 1048576"},
      {"h100", "known: a100-40g, a100-80g-sxm"},
      {"", "known: a100-40g"},
      {"./absent.json", "cannot read"},
      {"/", "is a directory"},
      {"local-cpu:128", "node.nics: 0 with 2 nodes"},
  };
  for (const auto& [spec, says] : cases) {
    EXPECT_THAT(error_of(spec), HasSubstr(says));
    EXPECT_EQ(error_of(spec).find('\n'), std::string::npos);
  }
}

TEST(Cluster, TruncatedFilesAreRefused) {
  const std::string good = shipped("h100-sxm");
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 3}) {
    EXPECT_THAT(error_of(written(good.substr(0, length))), HasSubstr("not valid JSON")) << length;
  }
}

}  // namespace
}  // namespace tw
