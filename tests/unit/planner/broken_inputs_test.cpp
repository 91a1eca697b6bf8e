// What users get wrong, given to the real program: exit 2, one line on standard error that says what
// is wrong, nothing on standard output, no file left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "tests/support/program.hpp"

namespace tw {
namespace {

using Args = std::vector<std::string>;

struct Broken {
  std::string name;
  Args args;
  std::string says;                                             // must stand in the line
  std::vector<std::pair<std::string, std::string>> files = {};  // written before
};

void PrintTo(const Broken& broken, std::ostream* out) {
  *out << broken.name;
}

constexpr const char* kLayout = "tp=2,zero=1,sp=1";

// A question that is answered, with some options replaced ("" as a value keeps the option with an
// empty value; an option given as "-" is left out).
Args predict_with(const std::vector<std::pair<std::string, std::string>>& changes, const Args& more = {}) {
  std::vector<std::pair<std::string, std::string>> options = {{"--model", "llama-3.2-1b"},
                                                              {"--cluster", "h100-sxm:8"},
                                                              {"--global-batch", "32"},
                                                              {"--seq", "2048"},
                                                              {"--layout", kLayout}};
  for (const auto& change : changes) {
    const auto same =
        std::find_if(options.begin(), options.end(), [&](const auto& o) { return o.first == change.first; });
    if (same != options.end()) {
      same->second = change.second;
    } else {
      options.push_back(change);
    }
  }
  Args out = {"predict"};
  for (const auto& [name, value] : options) {
    if (value == "-left-out-") continue;
    out.push_back(name), out.push_back(value);
  }
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

Args plan_with(const std::vector<std::pair<std::string, std::string>>& changes, const Args& more = {}) {
  Args out = predict_with(changes, more);
  out.front() = "plan";
  const auto layout = std::find(out.begin(), out.end(), "--layout");
  out.erase(layout, layout + 2);
  return out;
}

std::string shipped(const std::string& kind, const std::string& name) {
  return read_file(std::string(TW_SOURCE_DIR) + "/scenarios/" + kind + "/" + name + ".json");
}

std::string edited(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) ADD_FAILURE() << "nothing to break: " << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

Broken model_file(const std::string& name, const std::string& content, const std::string& says) {
  return {"model_" + name, predict_with({{"--model", "broken.json"}}), says, {{"broken.json", content}}};
}
Broken model_edit(const std::string& name, const std::string& from, const std::string& to,
                  const std::string& says) {
  return model_file(name, edited(shipped("models", "llama-3.2-1b"), from, to), says);
}
Broken cluster_edit(const std::string& name, const std::string& from, const std::string& to,
                    const std::string& says) {
  return {"cluster_" + name,
          predict_with({{"--cluster", "broken.json"}}),
          says,
          {{"broken.json", edited(shipped("clusters", "h100-sxm"), from, to)}}};
}
Broken calibration_edit(const std::string& name, const std::string& from, const std::string& to,
                        const std::string& says) {
  return {"calibration_" + name,
          predict_with({{"--calibration", "broken.json"}}),
          says,
          {{"broken.json", edited(shipped("calibrations", "h100-sxm"), from, to)}}};
}
Broken framework_edit(const std::string& name, const std::string& from, const std::string& to,
                      const std::string& says) {
  return {"framework_" + name,
          predict_with({{"--framework", "broken.json"}}),
          says,
          {{"broken.json", edited(shipped("frameworks", "megatron"), from, to)}}};
}

std::vector<Broken> models() {
  return {
      model_edit("missing_key", "\"hidden_size\": 2048,", "", "hidden_size"),
      model_edit("unknown_architecture", "\"model_type\": \"llama\"", "\"model_type\": \"rwkv\"", "rwkv"),
      model_edit("unknown_key", "\"hidden_size\": 2048,", "\"hidden_size\": 2048, \"sparse_every\": 2,",
                 "sparse_every"),
      model_edit("zero_layers", "\"num_hidden_layers\": 16", "\"num_hidden_layers\": 0", "num_hidden_layers"),
      model_edit("negative_size", "\"hidden_size\": 2048", "\"hidden_size\": -2048", "hidden_size"),
      model_edit("huge_integer", "\"hidden_size\": 2048", "\"hidden_size\": 99999999999999999999", "int64"),
      model_edit("fractional_size", "\"hidden_size\": 2048", "\"hidden_size\": 2048.5", "hidden_size"),
      model_edit("string_size", "\"hidden_size\": 2048", "\"hidden_size\": \"2048\"", "hidden_size"),
      model_edit("duplicate_key", "\"hidden_size\": 2048,", "\"hidden_size\": 2048, \"hidden_size\": 4096,",
                 "hidden_size"),
      model_edit("uneven_kv_heads", "\"num_key_value_heads\": 8", "\"num_key_value_heads\": 7",
                 "num_key_value_heads"),
      model_edit("not_utf8", "\"model_type\": \"llama\"", "\"model_type\": \"ll\xff\xfe\"", "UTF-8"),
      model_file("truncated", shipped("models", "llama-3.2-1b").substr(0, 200), "broken.json"),
      model_file("empty", "", "broken.json"),
      model_file("not_json", "hidden_size: 2048\n", "broken.json"),
      model_file("list", "[1, 2]", "broken.json"),
      model_file("deeply_nested", std::string(200000, '[') + std::string(200000, ']'), "deep"),
      {"model_absent_file", predict_with({{"--model", "absent.json"}}), "absent.json"},
      {"model_unknown_name", predict_with({{"--model", "llama-9"}}), "llama-3.1-8b"},
      {"model_is_a_folder", predict_with({{"--model", "./"}}), "./"},
      {"model_empty_name", predict_with({{"--model", ""}}), "--model"},
  };
}

std::vector<Broken> clusters() {
  return {
      cluster_edit("missing_key", "\"gpu\": \"h100-sxm\",", "", "gpu"),
      cluster_edit("bare_number", "\"nic_rate\": \"400 Gb/s\"", "\"nic_rate\": 400", "bare number"),
      cluster_edit("wrong_unit", "\"nic_rate\": \"400 Gb/s\"", "\"nic_rate\": \"400 GiB\"", "nic_rate"),
      cluster_edit("no_unit", "\"nic_rate\": \"400 Gb/s\"", "\"nic_rate\": \"400\"", "nic_rate"),
      cluster_edit("zero_gpus", "\"gpus\": 64", "\"gpus\": 0", "gpus"),
      cluster_edit("zero_gpus_per_node", "\"gpus\": 8", "\"gpus\": 0", "gpus"),
      cluster_edit("unknown_gpu", "\"gpu\": \"h100-sxm\"", "\"gpu\": \"h900\"", "h900"),
      cluster_edit("unknown_link", "\"link\": \"nvswitch\"", "\"link\": \"string\"", "nvswitch"),
      cluster_edit("unknown_key", "\"gpus\": 64,", "\"gpus\": 64, \"racks\": 4,", "racks"),
      cluster_edit("negative_rate", "\"400 Gb/s\"", "\"-400 Gb/s\"", "nic_rate"),
      {"cluster_size_zero", predict_with({{"--cluster", "h100-sxm:0"}}), "h100-sxm:0"},
      {"cluster_size_uneven", predict_with({{"--cluster", "h100-sxm:12"}}), "12"},
      {"cluster_size_huge", predict_with({{"--cluster", "h100-sxm:99999999999999999999"}}), "h100-sxm:9999"},
      {"cluster_size_word", predict_with({{"--cluster", "h100-sxm:many"}}), "many"},
      {"cluster_unknown_name", predict_with({{"--cluster", "h101"}}), "h100-sxm"},
      {"cluster_empty_name", predict_with({{"--cluster", ""}}), "--cluster"},
  };
}

std::vector<Broken> calibrations_and_frameworks() {
  return {
      calibration_edit("missing_key", "\"gemm\": {", "\"gemms\": {", "gemm"),
      calibration_edit("bare_number", "\"rate\": \"729 TFLOP/s\"", "\"rate\": 729", "bare number"),
      calibration_edit("wrong_unit", "\"rate\": \"729 TFLOP/s\"", "\"rate\": \"729 GB/s\"", "rate"),
      {"calibration_unknown_name", predict_with({{"--calibration", "z100"}}), "h100-sxm"},
      {"calibration_truncated",
       predict_with({{"--calibration", "broken.json"}}),
       "broken.json",
       {{"broken.json", shipped("calibrations", "h100-sxm").substr(0, 500)}}},
      framework_edit("unknown_schedule", "\"1f1b\"", "\"2f2b\"", "interleaved"),
      framework_edit("bad_zero", "\"zero\": [0, 1]", "\"zero\": [0, 7]", "zero"),
      framework_edit("bad_spread", "\"spread\": 0.0", "\"spread\": 1.0", "spread"),
      {"framework_unknown_name", predict_with({{"--framework", "gigatron"}}), "megatron"},
      {"framework_empty_name", predict_with({{"--framework", ""}}), "--framework"},
  };
}

std::vector<Broken> numbers() {
  std::vector<Broken> out;
  for (const char* text : {"0", "-1", "1e99", "1.5", "", "many", "99999999999999999999", " 32", "0x20"}) {
    out.push_back(
        {std::string("global_batch_") + text, predict_with({{"--global-batch", text}}), "--global-batch"});
    out.push_back({std::string("seq_") + text, predict_with({{"--seq", text}}), "--seq"});
  }
  for (const char* text : {"0", "-3", "x", ""}) {
    out.push_back({std::string("top_") + text, plan_with({{"--top", text}}), "--top"});
  }
  for (const char* text : {"0", "8,,16", "16..8", "8..", "..8", "8,8", "-8", "all", "2000000", ","}) {
    out.push_back({std::string("gpus_") + text, plan_with({{"--gpus", text}}), "--gpus"});
  }
  for (const char* text : {"4", "4 GB/s", "-1 GiB", "200 GiB", "lots", ""}) {
    out.push_back({std::string("headroom_") + text, predict_with({{"--headroom", text}}), "--headroom"});
  }
  for (const char* text : {"0.5", "nan", "inf", "", "-2"}) {
    out.push_back(
        {std::string("expert_load_") + text, predict_with({{"--expert-load", text}}), "--expert-load"});
  }
  out.push_back({"capacity_factor_zero", predict_with({{"--capacity-factor", "0"}}), "--capacity-factor"});
  return out;
}

std::vector<Broken> layouts() {
  return {
      {"layout_heads", predict_with({{"--cluster", "h100-sxm:64"}, {"--layout", "tp=64"}}),
       "not divisible by tp 64"},
      {"layout_gpus", predict_with({{"--layout", "dp=3,tp=2"}}), "8 GPUs"},
      {"layout_batch", predict_with({{"--global-batch", "30"}}), "global batch 30"},
      {"layout_seq", predict_with({{"--seq", "2047"}}), "2047"},
      {"layout_unknown_key", predict_with({{"--layout", "tp=2,xp=4"}}), "xp"},
      {"layout_no_value", predict_with({{"--layout", "tp="}}), "tp"},
      {"layout_repeated_key", predict_with({{"--layout", "tp=2,tp=4"}}), "tp"},
      {"layout_bad_schedule", predict_with({{"--layout", "schedule=9f9b"}}), "1f1b"},
      {"layout_huge", predict_with({{"--layout", "tp=99999999999999999999"}}), "tp"},
      {"layout_not_utf8", predict_with({{"--layout", "tp=\xff"}}), "tp"},
      {"layout_empty", predict_with({{"--layout", ""}}), "--layout"},
      {"layout_precision", predict_with({{"--layout", "tp=2,precision=nvfp4"}}), "no tensor cores for nvfp4"},
      {"layout_experts_of_a_dense_model", predict_with({{"--layout", "ep=2"}}), "ep"},
      {"fix_unknown_key", plan_with({{"--fix", "xp=4"}}), "xp"},
      {"fix_bad_value", plan_with({{"--fix", "tp=0"}}), "--fix"},
      {"fix_precision", plan_with({{"--fix", "precision=fp8-row"}}), "contradicts --precision bf16"},
      {"precision_unknown", predict_with({{"--precision", "fp16"}}), "bf16"},
      {"precision_unpriced", predict_with({{"--precision", "mxfp8"}}), "no tensor cores for mxfp8"},
  };
}

std::vector<Broken> command_lines() {
  return {
      {"nothing", {}, "plan"},
      {"unknown_command", {"plam"}, "plan"},
      {"unknown_option", predict_with({}, {"--fast"}), "--fast"},
      {"stray_word", predict_with({}, {"now"}), "now"},
      {"missing_value", predict_with({}, {"--calibration"}), "--calibration"},
      {"missing_option", predict_with({{"--model", "-left-out-"}}), "--model"},
      {"missing_layout", predict_with({{"--layout", "-left-out-"}}), "--layout"},
      {"repeated_option", predict_with({}, {"--model", "llama-3.1-8b"}), "--model"},
      {"engine", predict_with({{"--engine", "exact"}}), "closed"},
      {"objective", plan_with({{"--objective", "fame"}}), "time, cost, gpus"},
      {"ops_with_json", predict_with({{"--json", "-"}}, {"--ops"}), "--ops"},
      {"save_to_standard_output", plan_with({{"--save", "-"}}), "--save"},
      {"save_and_json_alike", plan_with({{"--save", "a.json"}, {"--json", "a.json"}}), "--save"},
      {"json_folder", predict_with({{"--json", "."}}), "--json"},
      {"json_no_folder", predict_with({{"--json", "absent/a.json"}}), "--json"},
      {"json_full", predict_with({{"--json", "/dev/full"}}), "/dev/full"},
      {"json_read_only", predict_with({{"--json", "/proc/a.json"}}), "/proc/a.json"},
      {"json_empty", predict_with({{"--json", ""}}), "--json"},
      {"save_empty", plan_with({{"--save", ""}}), "--save"},
      {"gpus_empty", plan_with({{"--gpus", ""}}), "--gpus"},
      {"fix_empty", plan_with({{"--fix", ""}}), "--fix"},
      {"calibration_empty", predict_with({{"--calibration", ""}}), "--calibration"},
      {"save_full", plan_with({{"--save", "/dev/full"}}), "/dev/full"},
      {"save_no_folder", plan_with({{"--save", "absent/p.json"}}), "--save"},
      {"list_unknown", {"list", "planets"}, "models"},
      {"list_two", {"list", "models", "gpus"}, "gpus"},
      {"bench_json_folder", {"bench", "--json", "."}, "--json"},
  };
}

class BrokenInputs : public testing::TestWithParam<Broken> {};

TEST_P(BrokenInputs, OneLineAndExitTwo) {
  const Broken& broken = GetParam();
  const Workspace workspace;
  for (const auto& [name, content] : broken.files) write_file(workspace.path(name), content);
  const auto before = workspace.files();
  const Ran ran = workspace.run(broken.args);
  EXPECT_EQ(ran.code, 2) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  EXPECT_TRUE(ran.err.ends_with('\n')) << ran.err;
  EXPECT_NE(ran.err.find(broken.says), std::string::npos) << ran.err;
  EXPECT_EQ(workspace.files(), before);
}

std::string name_of(const testing::TestParamInfo<Broken>& info) {
  std::string out = std::to_string(info.index) + "_" + info.param.name;
  for (char& c : out) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return out;
}

INSTANTIATE_TEST_SUITE_P(Models, BrokenInputs, testing::ValuesIn(models()), name_of);
INSTANTIATE_TEST_SUITE_P(Clusters, BrokenInputs, testing::ValuesIn(clusters()), name_of);
INSTANTIATE_TEST_SUITE_P(Files, BrokenInputs, testing::ValuesIn(calibrations_and_frameworks()), name_of);
INSTANTIATE_TEST_SUITE_P(Numbers, BrokenInputs, testing::ValuesIn(numbers()), name_of);
INSTANTIATE_TEST_SUITE_P(Layouts, BrokenInputs, testing::ValuesIn(layouts()), name_of);
INSTANTIATE_TEST_SUITE_P(CommandLines, BrokenInputs, testing::ValuesIn(command_lines()), name_of);

// Were the base question itself refused, every case above would pass for the wrong reason.
TEST(BrokenInputs, TheUnbrokenQuestionIsAnswered) {
  const Workspace workspace;
  const Ran ran = workspace.run(predict_with({}));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(workspace.run(plan_with({})).code, 0);
}

TEST(BrokenInputs, FullStandardOutputIsSaid) {
  const int status =
      std::system((quoted(TW_BINARY_DIR "/bin/trainwright") + " list gpus >/dev/full 2>/dev/null").c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

}  // namespace
}  // namespace tw
