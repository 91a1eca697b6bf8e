// Profiles that change a base: what they state and nothing else.
#include <gtest/gtest.h>

#include "costmodel/profile.hpp"
#include "tests/unit/costmodel/oracle_fixture.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// A profile with a base holds the base's mechanisms but for those that it states, and both sources.
TEST(Profiles, ABaseIsChangedInWhatIsStated) {
  const Profile base = load_profile(test::scenario("frameworks", "fsdp2"));
  const Profile changed = load_profile(test::scenario("frameworks", "small-ablation-grouped"));
  EXPECT_EQ(base.kernels.attention, AttentionKernel::flash2);
  EXPECT_EQ(changed.kernels.attention, AttentionKernel::flash3);
  EXPECT_EQ(*changed.kernels.loss, LossKernel::liger);
  EXPECT_EQ(changed.kernels.fused_norm, base.kernels.fused_norm);
  EXPECT_EQ(changed.state.gather_copy_bytes, base.state.gather_copy_bytes);
  EXPECT_GT(changed.source.size(), base.source.size());
  const std::string path = std::string(TW_BINARY_DIR) + "/broken_profile.json";
  const auto load = [&](const std::string& text) {
    write_file(path, text);
    return load_profile(path);
  };
  const std::string head = R"({"title": "t", "base": )";
  EXPECT_NO_THROW(load(head + R"("fsdp2", "source": ["s"]})"));
  EXPECT_THROW(load(head + R"("fsdp2", "kernels": {"speed": 2}, "source": ["s"]})"), InputError);
  EXPECT_THROW(load(head + R"("small-ablation-grouped", "source": ["s"]})"), InputError);
}

}  // namespace
}  // namespace tw
