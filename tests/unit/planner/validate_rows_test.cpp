// Rows that cannot be read or used say why, alone; only a file that is no list of rows is refused.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "planner/validate/print.hpp"
#include "planner/validate/validate_rows.hpp"
#include "topology/check.hpp"

namespace tw::validate {
namespace {

constexpr const char* kGood =
    R"({"id": "x", "source": "test", "year": 2025, "model": {"name": "llama3-8b", "seq_len": 4096},
        "cluster": {"gpu": "H100", "gpus": 8},
        "layout": {"dp": 8, "tp": 1, "pp": 1, "cp": 1, "micro_batch": 1, "global_batch": 64, "zero": "1",
                   "recompute": "full", "precision": "bf16"},
        "measured": {"step_time_s": 3.0}})";

ValidatedRow validated(const std::string& text) {
  const std::vector<Row> rows = read_rows(parse_json("[" + text + "]", "rows.json"));
  return validate_rows(rows, {}, "").rows.at(0);
}

// kGood with one piece of text replaced.
std::string with(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ValidateRows, AGoodRowIsUsed) {
  const ValidatedRow row = validated(kGood);
  EXPECT_TRUE(row.used) << row.why_not;
  ASSERT_TRUE(row.time_ratio);
  EXPECT_GT(*row.time_ratio, 0.3);
  EXPECT_LT(*row.time_ratio, 3);
  EXPECT_EQ(row.fits_measured, true);
}

struct Malformed {
  const char* from;
  const char* to;
  const char* why;  // part of why_not
};

class MalformedRows : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedRows, AreNotUsedAndSayWhy) {
  const Malformed& m = GetParam();
  const ValidatedRow row = validated(with(m.from, m.to));
  EXPECT_FALSE(row.used) << m.to;
  EXPECT_NE(row.why_not.find(m.why), std::string::npos) << m.to << ": " << row.why_not;
  EXPECT_EQ(row.why_not.find('\n'), std::string::npos);
  EXPECT_FALSE(row.time_ratio);
}

constexpr Malformed kMalformed[] = {
    {R"("id": "x")", R"("id": {})", "id"},
    {R"("source": "test")", R"("source": [1])", "source"},
    {R"("year": 2025)", R"("year": "then")", "year"},
    {R"("year": 2025)", R"("year": -4)", "year"},
    {R"("name": "llama3-8b")", R"("name": 7.5)", "name"},
    {R"("name": "llama3-8b")", R"("name": "something else")", "no layers"},
    {R"("name": "llama3-8b", )", "", "model.name"},
    {R"("seq_len": 4096)", R"("seq_len": "4k")", "seq_len"},
    {R"("seq_len": 4096)", R"("seq_len": 0)", "seq_len"},
    {R"("seq_len": 4096)", R"("seq_len": null)", "seq_len"},
    {R"("seq_len": 4096)", R"("seq_len": 9000000000000000000)", "seq_len"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "layers": 100000)", "layers"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "heads": -1)", "heads"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "kv_heads": 64, "heads": 32)", "kv_heads"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "experts": 4, "topk": 5)", "topk"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "gated_mlp": "yes")", "gated_mlp"},
    {R"("seq_len": 4096)", R"("seq_len": 4096, "params_b": -8)", "params_b"},
    {R"({"name": "llama3-8b", "seq_len": 4096})", "[]", "model"},
    {R"("gpu": "H100")", R"("gpu": "abacus")", "abacus"},
    {R"("gpu": "H100", )", "", "cluster.gpu"},
    {R"("gpus": 8)", R"("gpus": 0)", "gpus"},
    {R"("gpus": 8)", R"("gpus": 8.5)", "gpus"},
    {R"("gpus": 8)", R"("gpus": null)", "gpus"},
    {R"("gpus": 8)", R"("gpus": 2000000)", "gpus"},
    {R"("gpu": "H100")", R"("gpu": "H100", "name": "no-such-cluster")", "no-such-cluster"},
    {R"("dp": 8)", R"("dp": true)", "dp"},
    {R"("tp": 1)", R"("tp": 3)", "is not 8 GPUs"},
    {R"("global_batch": 64)", R"("global_batch": 63)", "63"},
    {R"("global_batch": 64, )", R"("global_batch": 64.5, )", "global_batch"},
    {R"("zero": "1")", R"("zero": "sometimes")", "zero"},
    {R"("recompute": "full")", R"("recompute": "half of it")", "recompute"},
    {R"("recompute": "full")", R"("recompute": "full", "schedule": "zigzag")", "schedule"},
    {R"("precision": "bf16")", R"("precision": {})", "precision"},
    {R"("precision": "bf16")", R"("precision": "bf16", "sp": "on")", "sp"},
    {R"("step_time_s": 3.0)", R"("step_time_s": "3 s")", "step_time_s"},
    {R"("step_time_s": 3.0)", R"("step_time_s": -3.0)", "step_time_s"},
    {R"("measured": {"step_time_s": 3.0})", R"("measured": 3)", "measured"},
    {R"("measured": {"step_time_s": 3.0})", R"("oom": "maybe")", "oom"},
};
INSTANTIATE_TEST_SUITE_P(Each, MalformedRows, testing::ValuesIn(kMalformed));

// 64.653 GB are no whole number of bytes in binary arithmetic: 60.213 GiB all the same.
TEST(ValidateRows, MemoryNeedNotBeWholeBytes) {
  const ValidatedRow row =
      validated(with(R"("step_time_s": 3.0)", R"("step_time_s": 3.0, "memory_gb": 64.653)"));
  ASSERT_TRUE(row.measured.memory_gib);
  EXPECT_NEAR(*row.measured.memory_gib, 64.653e9 / (1024.0 * 1024 * 1024), 1e-9);
  EXPECT_TRUE(row.memory_ratio);
}

// Megatron-Bridge's recipes keep gradients in bf16: half the bytes of the same run elsewhere.
TEST(ValidateRows, ARecipeSaysWhatGradientsAreKeptIn) {
  const auto gradients = [](const ValidatedRow& row) {
    for (const auto& [name, gib] : row.predicted->memory_parts) {
      if (name == "gradients") return gib;
    }
    return 0.0;
  };
  const ValidatedRow elsewhere = validated(with(R"("source": "test")", R"("source": "dgxc-benchmarking")"));
  const ValidatedRow bridge =
      validated(with(R"("source": "test")", R"("source": "Megatron-Bridge recipes")"));
  EXPECT_NEAR(gradients(bridge), gradients(elsewhere) / 2, 1e-9);
}

TEST(ValidateRows, ABadRowLeavesTheOthersAlone) {
  const std::string text = "[7, " + std::string(kGood) + ", null, {}]";
  const ValidateResult result = validate_rows(read_rows(parse_json(text, "rows.json")), {}, "");
  ASSERT_EQ(result.rows.size(), 4u);
  EXPECT_FALSE(result.rows[0].used);
  EXPECT_EQ(result.rows[0].id, "row 0");
  EXPECT_TRUE(result.rows[1].used);
  EXPECT_FALSE(result.rows[2].used);
  EXPECT_FALSE(result.rows[3].used);
  EXPECT_EQ(result.overall.used, 1);
  EXPECT_NE(text_of(result, true).find("not used"), std::string::npos);
}

TEST(ValidateRows, UnknownKeysAreNotedAndNotMore) {
  const ValidatedRow row = validated(with(R"("dp": 8)", R"("dp": 8, "colour": "red")"));
  EXPECT_TRUE(row.used) << row.why_not;
  EXPECT_EQ(row.filled.at(0), "key colour is not read");
}

// Nothing but model, GPU, their number and batch: used, with everything that was chosen said.
TEST(ValidateRows, ModelGpuCountAndBatchAreEnough) {
  const ValidatedRow row = validated(
      R"({"model": {"name": "mixtral-8x7b", "seq_len": 4096}, "cluster": {"gpu": "H100", "gpus": 64},
          "layout": {"global_batch": 256}, "measured": {"tokens_per_s_per_gpu": 5000}})");
  EXPECT_TRUE(row.used) << row.why_not;
  EXPECT_EQ(row.fits_predicted, true);
  EXPECT_TRUE(row.time_ratio);
  bool said = false;
  for (const std::string& each : row.filled)
    said = said || each.find("tp, pp, ep, vpp, micro_batch") != std::string::npos;
  EXPECT_TRUE(said);
}

TEST(ValidateRows, AFileThatIsNoListIsRefused) {
  for (const char* text : {"{}", "7", R"("rows")", R"({"rows": 7})", "null"}) {
    EXPECT_THROW(read_rows(parse_json(text, "rows.json")), InputError) << text;
  }
  EXPECT_EQ(read_rows(parse_json(R"({"rows": []})", "rows.json")).size(), 0u);
}

}  // namespace
}  // namespace tw::validate
