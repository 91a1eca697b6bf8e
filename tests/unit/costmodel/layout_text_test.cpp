#include <gtest/gtest.h>

#include "costmodel/layout/layout.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

std::string error_of(std::string_view text, std::int32_t gpus) {
  try {
    parse_layout(text, gpus);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(LayoutText, ReadsTheContractsExample) {
  const Layout l = parse_layout(
      "dp=8,tp=4,pp=2,cp=1,ep=8,etp=1,vpp=1,sp=1,zero=1,hsdp=0,mb=1,recompute=selective,schedule=1f1b", 64);
  const Layout expected{.dp = 8,
                        .tp = 4,
                        .pp = 2,
                        .ep = 8,
                        .sp = true,
                        .zero = 1,
                        .recompute = {.modules = Recompute::core},
                        .schedule = kSchedule1F1B,
                        .split = {}};
  EXPECT_EQ(l, expected);
  EXPECT_EQ(to_string(l),
            "dp=8,tp=4,pp=2,cp=1,ep=8,etp=1,vpp=1,sp=1,zero=1,hsdp=0,mb=1,recompute=selective,schedule=1f1b");
}

TEST(LayoutText, ReadsOptionalKeys) {
  const std::string text =
      "dp=2,tp=4,pp=2,cp=2,ep=8,etp=1,vpp=2,sp=0,zero=3,hsdp=0,mb=2,recompute=full:3,schedule=zb-v,"
      "cp_kind=a2a,a2a=two-level,order=tp-cp-ep-pp-dp,split=7-8-8-7,offload=optimizer,precision=fp8-block";
  EXPECT_EQ(to_string(parse_layout(text, 32)), text);
}

TEST(LayoutText, FillsDpFromTheGpus) {
  EXPECT_EQ(parse_layout("tp=4,pp=2", 64).dp, 8);
  EXPECT_EQ(parse_layout("tp=1", 1048576).dp, 1048576);
}

TEST(LayoutText, RefusesInOneLineThatSaysWhatIsLegal) {
  const std::pair<const char*, const char*> cases[] = {
      {"dp=8,foo=2",
       "unknown key \"foo\"; legal keys: dp, tp, pp, cp, ep, etp, vpp, sp, zero, hsdp, mb, recompute"},
      {"dp=8,dp=8", "key \"dp\" is given twice"},
      {"dp", "\"dp\" has no =; write key=value"},
      {"", "\"\" has no ="},
      {"dp=8,", "\"\" has no ="},
      {"dp=0", "dp=\"0\" is not legal; legal: a whole number from 1 to 1048576"},
      {"dp=1048577", "a whole number from 1 to 1048576"},
      {"dp=-8", "dp=\"-8\" is not legal"},
      {"dp=+8", "dp=\"+8\" is not legal"},
      {"dp=08", "dp=\"08\" is not legal"},
      {"dp= 8", "dp=\" 8\" is not legal"},
      {"dp=8.0", "dp=\"8.0\" is not legal"},
      {"dp=99999999999999999999", "is not legal"},
      {"dp=", "dp=\"\" is not legal"},
      {"dp=8,sp=2", "sp=\"2\" is not legal; legal: a whole number from 0 to 1"},
      {"dp=8,zero=4", "from 0 to 3"},
      {"dp=8,recompute=full:0", "legal: none, full, full:N"},
      {"dp=8,recompute=full:", "legal: none, full, full:N"},
      {"dp=8,recompute=fuller", "legal: none, full, full:N"},
      {"dp=8,recompute=mlp+mlp", "legal: none, full, full:N"},
      {"dp=8,recompute=", "legal: none, full, full:N"},
      {"dp=8,schedule=1F1B", "legal: gpipe, 1f1b, interleaved, zb-h1, zb-v, dualpipe, dualpipe-v"},
      {"dp=8,cp_kind=zig", "legal: ring, zigzag, a2a"},
      {"dp=8,a2a=x", "legal: direct, two-level, rail, dedup"},
      {"dp=8,order=pp-tp", "legal: tp-cp-ep-dp-pp, tp-cp-ep-pp-dp"},
      {"dp=8,split=7--8", "layers of each chunk"},
      {"dp=8,offload=all", "legal: none, optimizer"},
      {"dp=8,precision=fp8", "legal: bf16, fp8-delayed"},
      {"dp=4", "dp*tp*pp*cp = 4 but there are 8 GPUs"},
      {"tp=3", "tp*pp*cp = 3 does not divide 8 GPUs"},
      {"tp=1048576,pp=1048576,cp=1048576", "above the limit of 1048576 GPUs"},
  };
  for (const auto& [text, part] : cases) {
    const std::string error = error_of(text, 8);
    EXPECT_NE(error.find(part), std::string::npos) << text << ": " << error;
    EXPECT_NE(error.find("--layout"), std::string::npos) << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
  EXPECT_NE(error_of("tp=2", 0).find("dp is missing"), std::string::npos);
  EXPECT_NE(error_of("dp=1048576,tp=2", 0).find("above the limit"), std::string::npos);
}

TEST(LayoutText, KeysOfFix) {
  const LayoutKeys keys = parse_layout_keys("tp=8,a2a=rail", "--fix");
  EXPECT_TRUE(keys.has(LayoutKey::tp) && keys.has(LayoutKey::a2a));
  EXPECT_FALSE(keys.has(LayoutKey::dp) || keys.has(LayoutKey::precision));
  EXPECT_EQ(keys.value.tp, 8);
  EXPECT_EQ(keys.value.dispatch, Dispatch::rail);
  EXPECT_THROW(parse_layout_keys("tp", "--fix"), InputError);
}

TEST(LayoutText, NamesAndPrecisions) {
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(parse_precision(name_of(static_cast<Precision>(i))), static_cast<Precision>(i));
  }
  EXPECT_THROW(parse_precision("fp16"), InputError);
  EXPECT_THROW(parse_recompute("everything"), InputError);
  EXPECT_EQ(schedule_names()[kScheduleGpipe], "gpipe");
  EXPECT_EQ(schedule_names()[kSchedule1F1B], "1f1b");
  EXPECT_EQ(schedule_names()[kScheduleInterleaved], "interleaved");
  EXPECT_EQ(schedule_names()[kScheduleZbH1], "zb-h1");
  EXPECT_EQ(schedule_names()[kScheduleZbV], "zb-v");
  EXPECT_EQ(schedule_names()[kScheduleDualpipe], "dualpipe");
  EXPECT_EQ(schedule_names()[kScheduleDualpipeV], "dualpipe-v");
  EXPECT_EQ(schedule_names().size(), static_cast<std::size_t>(kSchedules));
}

}  // namespace
}  // namespace tw
