// The enumerator against the naive generator, and by hand.
#include "planner/enumerate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <unordered_set>

#include "tests/unit/planner/naive_layouts.hpp"

namespace tw {
namespace {

using namespace naive;

SearchSpace everything() {
  SearchSpace space;
  space.mb = MicroBatches::divisors;
  space.schedules = 0x7f;
  space.cp_kinds = 7;
  space.dispatches = 15;
  space.orders = space.offloads = 3;
  space.recomputes = {{},
                      {.full = true},
                      {.full = true, .full_layers = 1},
                      {.full = true, .full_layers = 2},
                      {.modules = Recompute::core},
                      {.modules = Recompute::moe_act | Recompute::mla_up},
                      {.modules = Recompute::attention | Recompute::core}};
  return space;
}

// Three slices of `everything`, each whole in some keys.
std::vector<SearchSpace> slices() {
  SearchSpace exchange = everything(), state = everything(), pipe = everything();
  exchange.max_mb = 1;
  exchange.zeros = 0b0101;
  exchange.schedules = 0b110;
  exchange.recomputes = {{}};
  exchange.hsdp = false;
  exchange.orders = exchange.offloads = 1;
  state.cp_kinds = mask_of(CpKind::zigzag);
  state.dispatches = 1;
  state.schedules = 0b10;
  state.recomputes = {{}};
  state.vpp = false;
  pipe.cp_kinds = mask_of(CpKind::ring) | mask_of(CpKind::zigzag);
  pipe.dispatches = pipe.orders = pipe.offloads = 1;
  pipe.zeros = 0b11;
  pipe.hsdp = false;
  return {exchange, state, pipe};
}

std::int64_t compare(const Shape& shape, const SearchSpace& space, int gpus) {
  constexpr int kBatch = 48, kSeq = 96;  // both hold a 3, so that dp and cp can be 3, 6, 12
  Naive naive{shape, space, gpus, kBatch, kSeq};
  naive.run();
  const Job job{.model = &shape.model, .global_batch = kBatch, .seq = kSeq, .gpus = gpus};
  std::vector<Flat> found;
  const Enumerated counts =
      for_each_layout(space, job, [&](const Layout& l, Link) { found.push_back(flat(l)); });
  EXPECT_EQ(counts.legal, static_cast<std::int64_t>(found.size()));
  std::sort(found.begin(), found.end());
  std::sort(naive.found.begin(), naive.found.end());
  EXPECT_TRUE(found == naive.found) << shape.name << " on " << gpus << " GPUs: " << found.size()
                                    << " against " << naive.found.size();
  return counts.legal;
}

// Every count up to 32 GPUs; unoptimised under the sanitizers each case costs 50 times more.
#ifdef __SANITIZE_ADDRESS__
constexpr int kMostGpus = 8;
constexpr std::int64_t kFewest = 100;
#else
constexpr int kMostGpus = 32;
constexpr std::int64_t kFewest = 10000;
#endif

TEST(Enumerate, GivesTheNaiveSetOfAllKeysTogetherUpTo32Gpus) {
  SearchSpace space = everything();
  space.max_mb = 2;
  space.dispatches = mask_of(Dispatch::direct) | mask_of(Dispatch::dedup);  // one rule for all but direct
  space.offloads = mask_of(Offload::none);                                  // no rule
  for (const Shape& shape : shapes()) {
    std::int64_t legal = 0;
    for (int gpus = 1; gpus <= kMostGpus; ++gpus) legal += compare(shape, space, gpus);
    RecordProperty(shape.name, static_cast<int>(legal));
    EXPECT_GT(legal, kFewest) << shape.name;
  }
}

TEST(Enumerate, GivesTheNaiveSetOfEachSliceUpTo32Gpus) {
  for (const Shape& shape : shapes()) {
    std::int64_t legal = 0;
    for (const SearchSpace& space : slices()) {
      for (int gpus = 1; gpus <= kMostGpus; ++gpus) legal += compare(shape, space, gpus);
    }
    RecordProperty(shape.name, static_cast<int>(legal));
    EXPECT_GT(legal, kFewest) << shape.name;
  }
}

// One GPU, one layer of a dense model, batch 2: mb 1 and 2, nothing else can differ.
TEST(Enumerate, CountsByHandOnOneGpu) {
  const Model model = dense(4, 4, 32, 64, 1);
  const Job job{.model = &model, .global_batch = 2, .seq = 8, .gpus = 1};
  EXPECT_EQ(for_each_layout(SearchSpace{}, job, [](const Layout&, Link) {}).legal, 2);
}

// Two GPUs, two layers, batch 2: dp 2 has mb 1 and zero 0-3: 4. tp 2 has sp 0, 1 and mb 1, 2: 4.
// cp 2 has mb 1, 2 and zero 0-3: 8. pp 2 has mb 1, 2 under 1f1b; interleaved needs vpp 2, 4 chunks of
// 2 layers: none. In all 18.
TEST(Enumerate, CountsByHandOnTwoGpus) {
  const Model model = dense(4, 4, 32, 64, 2);
  const Job job{.model = &model, .global_batch = 2, .seq = 8, .gpus = 2};
  EXPECT_EQ(for_each_layout(SearchSpace{}, job, [](const Layout&, Link) {}).legal, 18);
}

TEST(Enumerate, TellsTheOutermostLinkThatChanged) {
  const Shape shape = shapes()[2];
  const Job job{.model = &shape.model, .global_batch = 16, .seq = 96, .gpus = 12};
  Layout last;
  bool first = true;
  const auto same_pass = [&](const Layout& l) {
    return l.tp == last.tp && l.cp == last.cp && l.ep == last.ep && l.etp == last.etp && l.mb == last.mb &&
           l.sp == last.sp && l.cp_kind == last.cp_kind && l.dispatch == last.dispatch &&
           l.recompute == last.recompute && l.precision == last.precision;
  };
  const auto same_state = [&](const Layout& l) {
    return l.dp == last.dp && l.zero == last.zero && l.hsdp == last.hsdp && l.offload == last.offload;
  };
  for_each_layout(everything(), job, [&](const Layout& l, Link changed) {
    const Link expected = first || !same_pass(l) ? Link::pass
                          : !same_state(l)       ? Link::state
                          : l.vpp != last.vpp    ? Link::chunk
                                                 : Link::pipe;
    ASSERT_EQ(changed, expected) << to_string(l);
    first = false;
    last = l;
  });
}

TEST(Enumerate, IdsOfDistinctLayoutsDiffer) {
  const Shape shape = shapes()[2];
  const Job job{.model = &shape.model, .global_batch = 16, .seq = 96, .gpus = 8};
  std::unordered_set<std::uint64_t> ids;
  const Enumerated counts = for_each_layout(everything(), job, [&](const Layout& l, Link) {
    ids.insert(static_cast<std::uint64_t>(layout_id(l)));
  });
  EXPECT_EQ(static_cast<std::int64_t>(ids.size()), counts.legal);
}

TEST(Enumerate, KeepsToFixedKeysAndLimits) {
  const Shape shape = shapes()[2];
  const Job job{.model = &shape.model, .global_batch = 16, .seq = 96, .gpus = 16};
  SearchSpace space = everything();
  space.max_tp = 2;
  space.zero3_with_pp = false;
  space.sp = SpSearch::on_with_moe;
  space.fixed = parse_layout_keys("pp=2,mb=2,recompute=full,order=tp-cp-ep-dp-pp", "--fix");
  const Enumerated counts = for_each_layout(space, job, [&](const Layout& l, Link) {
    ASSERT_TRUE(l.tp <= 2 && l.pp == 2 && l.mb == 2 && l.recompute.full && l.zero < 3) << to_string(l);
    ASSERT_EQ(l.sp, l.tp > 1) << to_string(l);
    ASSERT_EQ(illegal_because(l, job), "");
  });
  EXPECT_GT(counts.legal, 100);
  space.fixed = parse_layout_keys("tp=4,dp=4,sp=0,zero=3,split=1-1-1-1-1-1", "--fix");  // fixed beats limits
  EXPECT_EQ(for_each_layout(space, job, [](const Layout&, Link) {}).legal, 0);          // 1 stage, 6 entries
  space.fixed = parse_layout_keys(
      "tp=4,dp=2,pp=2,ep=1,etp=1,sp=0,zero=3,hsdp=0,mb=1,recompute=none,vpp=1,"
      "schedule=1f1b,split=4-2,offload=none",
      "--fix");
  EXPECT_EQ(for_each_layout(space, job, [](const Layout& l, Link) { EXPECT_EQ(l.split[0], 4); }).legal,
            2);  // orders
}

}  // namespace
}  // namespace tw
