// check --machine, as far as a machine without GPUs can tell: what hosts say, and hosts that there are not.
#include "planner/preflight/machine.hpp"

#include <gtest/gtest.h>

#include "planner/preflight/placement.hpp"
#include "tests/support/program.hpp"
#include "topology/json.hpp"

namespace tw::preflight {
namespace {

using Lines = std::vector<std::string>;

TEST(Machine, ReadsTheTableOfGpus) {
  const std::vector<GpuState> gpus =
      parse_gpus_table({"0, NVIDIA H200, 143771, 521, 0", "1, NVIDIA H200, 143771, 40960, 99, 8, 16",
                        "Unable to determine the device handle"});
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[1].index, 1);
  EXPECT_EQ(gpus[1].name, "NVIDIA H200");
  EXPECT_DOUBLE_EQ(gpus[1].used_gib, 40);
  EXPECT_DOUBLE_EQ(gpus[1].busy, 0.99);
  EXPECT_EQ(gpus[1].lanes, 8);
  EXPECT_EQ(gpus[0].most_lanes, 0);
}

// Tabs, an empty cell and an underlined heading, as a host of two H200s printed it (driver 580.159.04); NICs
// added by hand.
TEST(Machine, ReadsTheMatrixOfLinks) {
  const GpuLinks links =
      parse_topology({"\t\x1b[4mGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m",
                      "GPU0\t X \tNV18\tPIX\tSYS\t0-23,96-119\t0\t\tN/A",
                      "GPU1\tNV18\t X \tSYS\tNODE\t24-47,120-143\t1\t\tN/A", "NIC0\tPIX\tSYS\t X \tSYS",
                      "NIC1\tSYS\tNODE\tSYS\t X ", "", "Legend:", "", "  X    = Self", "NIC Legend:", "",
                      "  NIC0: mlx5_0", "  NIC1: mlx5_7"});
  ASSERT_EQ(links.gpus.size(), 2u);
  EXPECT_EQ(links.gpus[1], (Lines{"NV18", "X"}));
  EXPECT_EQ(links.nics[1], (Lines{"SYS", "NODE"}));
  EXPECT_EQ(links.nic_names, (Lines{"mlx5_0", "mlx5_7"}));
  EXPECT_EQ(links.cores[0], "0-23,96-119");
  // An older driver: NICs by their own names, no column of GPU NUMA.
  const GpuLinks older = parse_topology({"        GPU0    GPU1    mlx5_0  CPU Affinity    NUMA Affinity",
                                         "GPU0     X      NV12    PXB     0-63            0",
                                         "GPU1    NV12     X      SYS     64-127          1"});
  EXPECT_EQ(older.nics[0], (Lines{"PXB"}));
  EXPECT_EQ(older.nic_names, (Lines{"mlx5_0"}));
  EXPECT_EQ(older.cores[1], "64-127");
  EXPECT_TRUE(parse_topology({"", "No devices were found"}).gpus.empty());
}

TEST(Machine, AddsUpTheNvlinksOfEachGpu) {
  const std::vector<NvlinkState> gpus =
      parse_nvlink({"GPU 0: NVIDIA H100", "\t Link 0: 26.562 GB/s", "\t Link 1: 26.562 GB/s",
                    "GPU 1: NVIDIA H100", "\t Link 0: <inactive>", "\t Link 1: 26.562 GB/s"});
  ASSERT_EQ(gpus.size(), 2u);
  EXPECT_EQ(gpus[0].active, 2);
  EXPECT_NEAR(in_gbps(gpus[0].rate), 53.124, 1e-9);
  EXPECT_EQ(gpus[1].inactive, 1);
}

TEST(Machine, ReadsByWhatNcclGoes) {
  const std::string log = "host:1:2 [0] NCCL INFO ";
  EXPECT_EQ(transports_of({log + "Channel 00/0 : 0[0] -> 7[7] via P2P/CUMEM",
                           log + "Channel 01/0 : 0[0] -> 6[6] via P2P/CUMEM/read",
                           log + "Channel 07/0 : 0[0] -> 15[7] [send] via NET/IBext_v8/0(7)/GDRDMA",
                           log + "Channel 02 : 1[1] -> 0[0] via SHM/direct/direct",
                           log + "Channel 00/0 : 1[0] -> 0[0] [receive] via NET/Socket/1",
                           "a line via P2P of somebody else"}),
            (Lines{"P2P", "NET/IBext_v8", "SHM", "NET/Socket"}));
}

TEST(Machine, KnowsAForeignGpuByItsName) {
  EXPECT_TRUE(same_kind("h200-sxm", "NVIDIA H200"));
  EXPECT_TRUE(same_kind("h100-sxm", "NVIDIA H100 80GB HBM3"));
  EXPECT_TRUE(same_kind("a100-80g-sxm", "NVIDIA A100-SXM4-80GB"));
  EXPECT_TRUE(same_kind("rtx-4090", "NVIDIA GeForce RTX 4090"));
  EXPECT_FALSE(same_kind("rtx-4090", "NVIDIA GeForce RTX 3090"));
  EXPECT_FALSE(same_kind("h200-sxm", "NVIDIA GH200 480GB"));
  EXPECT_FALSE(same_kind("h100-sxm", "NVIDIA H200"));
}

TEST(Machine, CountsCoresOfLists) {
  EXPECT_EQ(cores_in({"0-3", "2-5,9"}), 7);
  EXPECT_EQ(cores_in({"N/A", ""}), 0);
  EXPECT_TRUE(cores_meet("0-23,96-119", "100"));
  EXPECT_FALSE(cores_meet("0-23,96-119", "24-95"));
}

// Two H100 nodes of a cluster with eight NICs of 400 Gb/s; each of these hosts is whole but for one thing.
class Placed : public ::testing::Test {
 protected:
  Placed() : cluster_(load_cluster("h100-sxm:16")) {
    for (std::int32_t gpu = 0; gpu < 8; ++gpu) {
      host_.gpus.push_back({gpu, "NVIDIA H100 80GB HBM3", in_gib(cluster_.device.memory), 0, 0, 16, 16});
      host_.ranks.push_back({gpu, gpu, "0-47"});
      Lines links(8, "NV18"), nics(8, "SYS");
      links[static_cast<std::size_t>(gpu)] = "X", nics[static_cast<std::size_t>(gpu)] = "PIX";
      host_.links.gpus.push_back(links), host_.links.nics.push_back(nics);
      host_.links.nic_names.push_back("mlx5_" + std::to_string(gpu));
      host_.links.cores.emplace_back(gpu < 4 ? "0-23" : "24-47");
      host_.nvlink.push_back({18, 0, cluster_.device.nvlink_one_way});
      host_.nics.push_back({"mlx5_" + std::to_string(gpu), true, cluster_.node.nic_rate});
    }
  }
  std::string found() const {
    CheckResult result;
    judge_gpu_host(cluster_, host_, "", result);
    std::string out;
    for (const Finding& each : result.findings)
      out += std::string(name_of(each.severity)) + " " + each.text + "\n";
    return out;
  }
  Cluster cluster_;
  HostState host_;
};

TEST_F(Placed, AWholeHostHasNoFinding) {
  EXPECT_EQ(found(), "");
}
TEST_F(Placed, NvlinkThatIsNotThere) {
  for (Lines& row : host_.links.gpus)
    std::replace(row.begin(), row.end(), std::string("NV18"), std::string("SYS"));
  EXPECT_EQ(found(), "fail no NVLink between any of 8 GPUs (nvidia-smi topo: GPUs 0 and 1 (SYS))\n");
  for (Lines& row : host_.links.gpus)
    std::replace(row.begin(), row.end(), std::string("SYS"), std::string("NV18"));
  host_.links.gpus[2][5] = host_.links.gpus[5][2] = "NODE";
  EXPECT_EQ(found(), "fail no NVLink between GPUs 2 and 5 (NODE)\n");
}
TEST_F(Placed, NvlinksThatAreDown) {
  host_.nvlink[4] = {12, 6, cluster_.device.nvlink_one_way * (2.0 / 3)};
  EXPECT_EQ(found(), "fail GPU 4: NVLink has 12 of 18 links up, 300 GB/s; the plan's has 450 GB/s\n");
}
TEST_F(Placed, NicsThatAreDownOrSlow) {
  host_.nics[3].up = false;
  host_.nics[6].rate = host_.nics[6].rate * 0.25;
  EXPECT_EQ(found(),
            "fail NIC missing: 6 of 8 with 50 GB/s are up (mlx5_3 is down, mlx5_6 runs at 12 GB/s)\n");
  cluster_ = load_cluster("h100-sxm:8");  // one node needs none
  EXPECT_EQ(found(), "");
}
TEST_F(Placed, NicBehindTheCpu) {
  host_.links.nics[1] = Lines(8, "SYS"), host_.links.nics[1][6] = "NODE";
  EXPECT_EQ(found(), "warn GPU 1's nearest NIC, mlx5_6, is reached through the CPU (NODE)\n");
}
TEST_F(Placed, RankFarFromItsGpu) {
  host_.ranks[5].cores = "0-5";
  EXPECT_EQ(found(), "warn rank 5 may use cores 0-5 alone; its GPU 5 is near cores 24-47\n");
}
TEST_F(Placed, LanesAndMemory) {
  host_.gpus[7].lanes = 8, host_.gpus[6].used_gib = 3;
  EXPECT_EQ(found(),
            "fail GPU 6 is occupied: 3.0 GiB in use\nwarn GPU 7's PCIe link runs on 8 of its 16 lanes\n");
}

TEST(Machine, NamesTheHostOfEachFault) {
  const Workspace workspace;
  const std::string plan = workspace.path("plan.json");
  ASSERT_EQ(workspace
                .run({"plan", "--model", "llama-3.2-1b", "--cluster", "h100-sxm:16", "--global-batch", "16",
                      "--seq", "4096", "--framework", "trainwright", "--save", plan, "--quiet"})
                .code,
            0);
  const auto check = [&](const std::string& ranks) {
    const Ran ran =
        workspace.run({"check", "--plan", plan, "--machine", "--no-search", "--launcher",
                       "sh " TW_SOURCE_DIR "/tests/support/fake_hosts/launch.sh " + ranks, "--json", "-"});
    EXPECT_EQ(ran.code, 3) << ran.err;
    return ran.out;
  };
  const std::string whole = check("16");
  for (const std::string text :
       {"16 ranks on 2 hosts", "host n1: GPU 3 is occupied: 40.0 GiB in use",
        "host n1: GPU 5: NVLink has 12 of 18 links up, 319 GB/s; the plan's has 450 GB/s",
        "host n0: NIC missing: 0 of 8"})
    EXPECT_NE(whole.find(text), std::string::npos) << text << "\n" << whole;
  EXPECT_EQ(whole.find("host n0: GPU"), std::string::npos) << whole;
  EXPECT_NE(check("12").find("rank count: the launcher starts 12 ranks, the plan has 16"), std::string::npos);
  EXPECT_EQ(workspace.run({"check", "--launch", "x.sh", "--cluster", "h100-sxm:8", "--machine"}).code, 2);
}

}  // namespace
}  // namespace tw::preflight
