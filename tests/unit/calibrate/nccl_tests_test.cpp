#include "calibrate/import/nccl_tests.hpp"

#include <gtest/gtest.h>

#include "topology/check.hpp"

namespace tw {
namespace {

const Gpu& gpu() {
  static const Gpu loaded = load_gpu("h100-sxm");
  return loaded;
}

ImportedRows read(const std::string& text, NcclLog log = {}) {
  log.name = "log", log.gpu = "h100-sxm";
  return read_nccl_tests(text, log, gpu());
}

std::string ranks(int count, int hosts = 1) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += "#  Rank " + std::to_string(i) + " Group  0 Pid " + std::to_string(100 + i) + " on host" +
            std::to_string(i * hosts / count) + " device " + std::to_string(i) +
            " [0x1b] NVIDIA H100 80GB HBM3\n";
  return text;
}

const std::string kHead =
    "# nThread 1 nGpus 1 minBytes 8388608 maxBytes 16777216 step: 2(factor) warmup iters: 5 iters: 20 agg "
    "iters: 1 "
    "validation: 1 graph: 0\n#\n# Using devices\n";
const std::string kColumns =
    "#\n#                                                              out-of-place                       "
    "in-place\n"
    "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   "
    "busbw "
    "#wrong\n#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  "
    "(GB/s)  "
    "(GB/s)\n";
// 8 MiB in 91.10 us is 92.08 GB/s; times 2*7/8 161.14.
const std::string kRow =
    "     8388608       2097152     float     sum      -1    91.10   92.08  161.14      0    94.94   88.36  "
    "154.63      0\n";
const std::string kAllReduce = "$ all_reduce_perf -b 8M -e 16M -f 2\n";
const std::string kWhole =
    kAllReduce + kHead + ranks(8) + kColumns + kRow + "# Out of bounds values : 0 OK\n";

TEST(NcclTests, ReadsARow) {
  const ImportedRows got = read(kWhole);
  EXPECT_TRUE(got.skipped.empty());
  ASSERT_EQ(got.rows.size(), 1u);
  const CollectiveRow& row = got.rows[0];
  EXPECT_EQ(row.bytes.count, 8388608);
  EXPECT_NEAR(in_us(row.time), 91.10, 1e-9);
  EXPECT_EQ(row.collective, Collective::all_reduce);
  EXPECT_EQ(row.algorithm, "ring");
  EXPECT_EQ(row.ranks, 8);
  EXPECT_EQ(row.nodes, 1);
  EXPECT_EQ(row.gpu, "h100-sxm");
}

TEST(NcclTests, HostsAreNodesUnlessTheyAreGiven) {
  const std::string text = kAllReduce + kHead + ranks(8, 2) + kColumns + kRow;
  EXPECT_EQ(read(text).rows.at(0).nodes, 2);
  NcclLog given;
  given.nodes = 4, given.per_node = 2;
  EXPECT_EQ(read(text, given).rows.at(0).nodes, 4);
  // A log cut before its ranks is read with both given.
  given.nodes = 1, given.per_node = 8;
  EXPECT_EQ(read(kAllReduce + kColumns + kRow, given).rows.at(0).ranks, 8);
}

// Columns differ: no redop and no root (2.0 all-gather), redop and no root, an error instead of #wrong.
TEST(NcclTests, ReadsTheColumnsOfSeveralVersions) {
  // 1 GiB in 2000 us: 536.87 GB/s, times 7/8 is 469.76.
  const std::string numbers = " 2000.0 536.87 469.76 ";
  const std::string twice = numbers + "0e+00" + numbers + "0e+00\n";
  for (const std::string middle :
       {" float", " float none", " float none -1", " int8 none -1", " float sum -1"}) {
    const auto got = read("all_gather_perf\n" + ranks(8) + "1073741824 268435456" + middle + twice);
    EXPECT_EQ(got.rows.size(), 1u) << middle;
  }
  const auto rows = read("alltoall_perf\n" + ranks(8) + "1073741824 33554432 float none -1" + numbers + "0" +
                         numbers + "N/A\n");
  ASSERT_EQ(rows.rows.size(), 1u);
  EXPECT_EQ(rows.rows[0].algorithm, "pairwise");
  // A message has no bus factor.
  const std::string sent = " 2000.0 536.87 536.87 0";
  EXPECT_EQ(read("sendrecv_perf\n" + ranks(2) + "1073741824 268435456 float sum -1" + sent + sent + "\n")
                .rows.size(),
            1u);
  EXPECT_EQ(read("reduce_scatter_perf\n" + ranks(8) + "1073741824 33554432 float sum -1" + twice).rows.size(),
            1u);
  NcclLog unnamed;
  unnamed.kind = Collective::all_gather;
  EXPECT_EQ(read(ranks(8) + "1073741824 268435456 float none -1" + twice, unnamed).rows.size(), 1u);
}

// Logs that do not say what was run.
TEST(NcclTests, RefusesLogs) {
  NcclLog seven, none, odd;
  seven.per_node = 7, none.nodes = 3, odd.nodes = 3;
  const std::string bad[] = {
      "",
      "\n\n",
      "no log at all",
      kRow,                                                // no ranks
      kAllReduce + kRow,                                   // no ranks
      kHead + ranks(8) + kRow,                             // no collective
      kAllReduce + ranks(1) + kRow,                        // one rank
      kAllReduce + ranks(8) + kRow + ranks(8) + kRow,      // two runs
      kAllReduce + "all_gather_perf\n" + ranks(8) + kRow,  // two collectives
      kWhole + "# alltoall_perf\n",                        // the same, at the end
      kAllReduce + ranks(1) + ranks(1) + kRow,             // built without MPI
  };
  for (const std::string& text : bad) EXPECT_THROW(read(text), InputError) << text;
  EXPECT_THROW(read(kWhole, seven), InputError);  // the log names 8
  EXPECT_THROW(read(kWhole, odd), InputError);    // 8 over 3
  NcclLog other;
  other.kind = Collective::all_gather;
  EXPECT_THROW(read(kWhole, other), InputError);  // the log says another
}

// Rows that are damaged or wrong: each is said, and none is taken.
TEST(NcclTests, SaysWhichRowsItDidNotRead) {
  const std::string head = kAllReduce + kHead + ranks(8) + kColumns;
  const std::string bad[] = {
      "8388608\n",
      "8388608 2097152\n",
      "8388608 2097152 float sum -1 91.10 92.08\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 0\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 0 94.94 88.36\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 0 94.94 88.36 154.63 0 1 2 3\n",
      "8388608 x float sum -1 91.10 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "-8388608 2097152 float sum -1 91.10 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "0 0 float sum -1 5.70 0.00 0.00 0 5.54 0.00 0.00 0\n",
      "8388608 2097152 float sum -1 nan 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 inf 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 -91.10 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 0 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 91,10 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 91.10us 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 N/A 92.08 161.14 0 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 7 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 2e+00 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 91.10 92.08 161.14 bad 94.94 88.36 154.63 0\n",
      "8388608 2097152 float sum -1 45.55 92.08 161.14 0 94.94 88.36 154.63 0\n",  // time and bandwidth
                                                                                   // disagree
      "8388608 2097152 float sum -1 91.10 92.08 80.57 0 94.94 88.36 154.63 0\n",   // a factor of another
                                                                                   // collective
      "8388608 2097152 float sum -1 91.10 9.208 16.114 0 94.94 88.36 154.63 0\n",
      "99999999999999999999 2097152 float sum -1 91.10 92.08 161.14 0 94.94 88.36 154.63 0\n",
  };
  int count = 0;
  for (const std::string& row : bad) {
    const ImportedRows got = read(head + row);
    EXPECT_TRUE(got.rows.empty()) << row;
    const bool heading = row[0] == '9' && row[5] == '9';  // no number at all: not taken for a row
    EXPECT_EQ(got.skipped.size(), heading ? 0u : 1u) << row;
    EXPECT_EQ(read(head + kRow + row).rows.size(), 1u) << row;
    ++count;
  }
  EXPECT_GE(count, 23);
  EXPECT_EQ(read(kAllReduce + "# Rank x on host\n" + ranks(8) + kRow).skipped.size(), 1u);
}

// Cut anywhere, a log is read or refused, and no row is made up.
TEST(NcclTests, CutAnywhere) {
  for (std::size_t size = 0; size < kWhole.size(); ++size) {
    try {
      const ImportedRows got = read(kWhole.substr(0, size));
      for (const CollectiveRow& row : got.rows) {
        EXPECT_EQ(row.bytes.count, 8388608);
        EXPECT_NEAR(in_us(row.time), 91.10, 1e-9);
      }
    } catch (const InputError&) {
    }
  }
}

}  // namespace
}  // namespace tw
