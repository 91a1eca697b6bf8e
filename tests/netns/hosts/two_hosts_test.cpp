// The loop over two hosts: network namespaces of this machine and a link that tc holds to a rate
// (tests/loop/two_hosts.sh). No time is judged: that each part ran, and that what was measured of the link is
// possible. Needs root, ip, tc and python3; elsewhere it is skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/program.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

bool can_make_hosts(const Workspace& space) {
  return geteuid() == 0 &&
         space.run_line("sh -c 'command -v tc python3 && ip netns add tw-try && ip netns del tw-try'").code ==
             0 &&
         space.run_line(
                  "sh -c 'unshare --uts true && ip link add tw-try0 type veth peer name tw-try1 && "
                  "tc qdisc add dev tw-try0 root tbf rate 1gbit burst 256kb latency 200ms; "
                  "code=$?; ip link del tw-try0; exit $code'")
                 .code == 0;
}

TEST(TwoHosts, CalibratePlanConfirm) {
  const Workspace space;
  if (!can_make_hosts(space)) GTEST_SKIP() << "needs root, tc, python3 and network namespaces";
  const Ran ran = space.run_line("env STEPS=1 SECONDS_OF_LINK=1 MODELS=tiny-dense " +
                                 quoted(TW_SOURCE_DIR "/tests/loop/two_hosts.sh") + " " +
                                 quoted(TW_BINARY_DIR "/bin") + " out 1000");
  ASSERT_EQ(ran.code, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("2 ranks on 2 hosts"));
  EXPECT_THAT(ran.out, HasSubstr("Kendall tau"));
  const JsonView links = load_json(space.path("out/link-1000.json")).at("links");
  for (const char* curve : {"send_inter", "ring_inter", "pairwise_inter"}) {
    const double share =
        links.at(curve).at("efficiency").number();  // of 1 Gbit/s; tc lets a burst pass at once
    EXPECT_GT(share, 0.3) << curve;
    EXPECT_LT(share, 1.0) << curve;
  }
  const JsonView inside = load_json(space.path("out/here.json")).at("links");
  EXPECT_EQ(links.at("ring_intra").at("efficiency").number(),
            inside.at("ring_intra").at("efficiency").number());
  for (int i = 0; i < 7; ++i) {
    const JsonView one =
        load_json(space.path("out/at-1000/confirmed-tiny-dense-" + std::to_string(i) + "-0.json"));
    EXPECT_GT(one.at("layouts")[0].at("measured").at("step_time_s").number(), 0.01) << i;
  }
}

}  // namespace
}  // namespace tw
