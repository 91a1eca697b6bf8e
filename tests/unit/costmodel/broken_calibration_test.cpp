// One edit each of the shipped H100 file must be refused with one line that names the place.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/costmodel/calibration_fixture.hpp"
#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

struct Broken {
  const char* name;
  const char* from;  // first occurrence after `after`
  const char* to;
  const char* after;
  const char* says;
};

constexpr Broken kBroken[] = {
    {"unknown_key", "\"title\"", "\"titel\": 1, \"title\"", "", "titel"},
    {"missing_key", "\"launch\":", "\"launched\":", "", "launch"},
    {"bare_number", "\"rate\": \"", "\"rate\": 7, \"x\": \"", "\"gemm\"", "bare number"},
    {"wrong_unit", " TFLOP/s\"", " GB/s\"", "\"gemm\"", "wrong unit"},
    {"zero_rate", "\"rate\": \"7", "\"rate\": \"0.0e-", "\"gemm\"", "above 0"},
    {"zero_sms", "\"sms\": 132", "\"sms\": 0", "", "sms"},
    {"fractional_sms", "\"sms\": 132", "\"sms\": 13.2", "", "sms"},
    {"huge_sms", "\"sms\": 132", "\"sms\": 99999999999", "", "sms"},
    {"memory_share", "\"memory_share\": ", "\"memory_share\": 1", "\"gemm\"", "at most 1"},
    {"tail", "\"tail\": 0", "\"tail\": 3", "\"gemm\"", "from 0 to 1"},
    {"overlap", "\"overlap\": 5", "\"overlap\": 0", "\"gemm\"", "at least 1"},
    {"provenance", "\"measured\"", "\"guessed\"", "\"gemm\"", "measured, published, derived"},
    {"spread", "\"spread\": 0.", "\"spread\": -0.", "\"gemm\"", "spread"},
    {"link_power", "\"power\": 0.", "\"power\": 1.", "\"ring_intra\"", "power"},
    {"efficiency", "\"efficiency\": 0.", "\"efficiency\": 1.", "\"ring_intra\"", "efficiency"},
    {"kernel_name", "\"of\": \"flash2\"", "\"of\": \"flash9\"", "", "flash2"},
    {"slowdown", "\"compute_slowdown\": 1.", "\"compute_slowdown\": 0.", "", "compute_slowdown"},
    {"negative", "\"base\": \"", "\"base\": \"-", "\"ring_intra\"", "negative"},
    {"source", "\"source\": \"measured", "\"sources\": \"measured", "\"gemm\"", "source"},
    {"type", "\"fill\": ", "\"fill\": \"many\", \"x\": ", "\"gemm\"", "fill"},
    {"duplicate", "\"title\"", "\"title\": \"a\", \"title\"", "", "title"},
};

// Of the H200 file, which has tables of exchanges.
constexpr Broken kBrokenTables[] = {
    {"table_kind", "\"all_reduce\"", "\"all_reduced\"", "\"tables\"", "all_reduce"},
    {"table_ranks", "\"ranks\": 2", "\"ranks\": 1", "\"tables\"", "ranks"},
    {"table_nodes", "\"nodes\": 1", "\"nodes\": 3", "\"tables\"", "nodes"},
    {"table_link", "\"450 GB/s\"", "\"0 GB/s\"", "\"tables\"", "link"},
    {"table_sizes_unit", "\"2 KiB\"", "\"2 us\"", "\"tables\"", "wrong unit"},
    {"table_sizes_fall", "\"2 KiB\"", "\"1 KiB\"", "\"tables\"", "rising"},
    {"table_size_zero", "\"1 KiB\"", "\"0 B\"", "\"tables\"", "above 0"},
    {"table_size_more", "\"1 KiB\"", "\"512 B\", \"1 KiB\"", "\"tables\"", "as many"},
    {"table_times_fall", " us\",", " ms\",", "\"times\"", "none below"},
    {"table_time_zero", "\"5.", "\"0.0e-", "\"times\"", "above 0"},
    {"table_spread", "\"spread\": 0.", "\"spread\": 4.", "\"tables\"", "spread"},
    {"mix_share", "\"gemm_share\": 0.", "\"gemm_share\": 7.", "\"mixes\"", "gemm_share"},
    {"mix_order", "\"gemm_share\": 0.5", "\"gemm_share\": 0.9", "\"mixes\"", "gemm_share"},
    {"mix_ratio", "\"attention\": ", "\"attention\": -", "\"mixes\"", "attention"},
    {"mix_key", "\"gemm\"", "\"gem\"", "\"mixes\"", "gem"},
    {"beside_size", "\"1 MiB\"", "\"0 B\"", "\"beside\"", "above 0"},
    {"beside_order", "\"1 MiB\"", "\"1 GiB\"", "\"beside\"", "rise"},
    {"beside_network", "\"network\": ", "\"network\": -", "\"beside\"", "at least 1"},
    {"beside_lost", "\"lost\": 0.", "\"lost\": 4.", "\"beside\"", "from 0 to 1"},
    {"yields", "\"gemm_yields\": 0.", "\"gemm_yields\": 4.", "\"handover\"", "from 0 to 1"},
    {"handover_unit", " us\"", " MiB\"", "\"handover\"", "wrong unit"},
    {"table_key", "\"times\"", "\"time\"", "\"tables\"", "time"},
};

std::string edited(const Broken& broken, const char* calibration = "h100-sxm") {
  std::string text = read_file(test::shipped(calibration));
  const std::size_t after = text.find(broken.after);
  const std::size_t at = text.find(broken.from, after);
  EXPECT_NE(at, std::string::npos) << broken.name;
  return text.replace(at, std::string(broken.from).size(), broken.to);
}

std::string refusal(const std::string& text, const std::string& name) {
  const auto path = std::filesystem::temp_directory_path() / ("calibration_" + name + ".json");
  write_file(path.string(), text);
  std::string what;
  try {
    load_calibration(path.string(), test::cluster_of(test::kH100));
  } catch (const InputError& error) {
    what = error.what();
  }
  std::filesystem::remove(path);
  return what;
}

TEST(BrokenCalibration, each_is_refused_in_one_line) {
  for (const Broken& broken : kBroken) {
    const std::string what = refusal(edited(broken), broken.name);
    EXPECT_FALSE(what.empty()) << broken.name << ": accepted";
    EXPECT_NE(what.find(broken.says), std::string::npos) << broken.name << ": " << what;
    EXPECT_EQ(what.find('\n'), std::string::npos) << broken.name;
  }
}

TEST(BrokenCalibration, each_table_is_refused_in_one_line) {
  for (const Broken& broken : kBrokenTables) {
    const std::string what = refusal(edited(broken, "h200-sxm"), broken.name);
    EXPECT_FALSE(what.empty()) << broken.name << ": accepted";
    EXPECT_NE(what.find(broken.says), std::string::npos) << broken.name << ": " << what;
    EXPECT_EQ(what.find('\n'), std::string::npos) << broken.name;
  }
}

TEST(BrokenCalibration, truncated_empty_and_other_documents) {
  const std::string text = read_file(test::shipped("h100-sxm"));
  EXPECT_FALSE(refusal(text.substr(0, text.size() / 2), "truncated").empty());
  EXPECT_FALSE(refusal("", "empty").empty());
  EXPECT_FALSE(refusal("[]", "list").empty());
  EXPECT_FALSE(refusal(std::string(1000, '['), "deep").empty());
}

TEST(BrokenCalibration, an_architecture_without_a_rule) {
  test::Sheet sheet = test::kA100;
  sheet.architecture = "volta";
  try {
    test::calibration_of("h100-sxm", sheet);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("ampere, blackwell"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tw
