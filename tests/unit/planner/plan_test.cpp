// The search against a plain loop over the same space, and what a plan says about its losers.
#include "planner/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "planner/search.hpp"
#include "planner/space.hpp"
#include "tests/support/problems.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using testing::ElementsAre;

struct Small {
  const char *model, *cluster;
  std::int64_t batch;
  std::int32_t seq;
  const char *framework, *headroom, *fixed;
};

// Headrooms are such that some layouts fit and some do not.
const Small kSmall[] = {
    {"llama-3.1-8b", "h100-sxm:8", 32, 4096, "megatron", "1 GiB", ""},
    {"llama-3.1-8b", "h100-sxm:8", 32, 4096, "any", "30 GiB", "mb=1,vpp=1"},
    {"olmoe-1b-7b", "h100-sxm:16", 32, 2048, "megatron", "40 GiB", "mb=1"},
    {"deepseek-v2-lite", "h100-sxm:8", 16, 4096, "torchtitan", "1 GiB", "mb=1"},
};

Inputs inputs_for(const Small& small) {
  Asked asked;
  asked.model = small.model, asked.cluster = small.cluster, asked.framework = small.framework;
  asked.global_batch = std::to_string(small.batch), asked.seq = std::to_string(small.seq);
  asked.headroom = small.headroom;
  return load_inputs(asked);
}

class PlanOf : public testing::TestWithParam<Small> {};

TEST_P(PlanOf, TheFirstIsTheFastestOfAllThatFit) {
  const Inputs inputs = inputs_for(GetParam());
  const Problem problem(inputs, inputs.cluster.gpus);
  const SearchSpace space = space_of(problem, GetParam().fixed);
  Evaluator plain(problem.job, problem.machine, inputs.settings);
  double fastest = std::numeric_limits<double>::infinity();
  std::int64_t fitting = 0, legal = 0;
  for_each_layout(space, problem.job, [&](const Layout& layout, Link) {
    const Cost cost = plain.cost(layout);
    ++legal;
    const Cost quick = plain.cost_if_fits(layout);
    ASSERT_EQ(quick.fits, cost.fits) << to_string(layout);
    ASSERT_EQ(quick.memory.bytes, cost.memory.bytes) << to_string(layout);
    ASSERT_EQ(quick.step_seconds, cost.fits ? cost.step_seconds : 0) << to_string(layout);
    if (!cost.fits) return;
    ++fitting;
    fastest = std::min(fastest, cost.step_seconds);
  });
  ASSERT_GT(fitting, 0);
  ASSERT_LT(fitting, legal) << "nothing is refused: the case does not test memory";
  const SearchResult found = search(problem, space, {.top = 5}, {});
  ASSERT_EQ(found.best.size(), 5u);
  EXPECT_EQ(found.best.front().cost.step_seconds, fastest);
  EXPECT_EQ(found.searched.legal, legal);
  EXPECT_EQ(found.searched.evaluated, fitting);
  EXPECT_EQ(found.searched.refused_by_memory, legal - fitting);
  EXPECT_TRUE(std::is_sorted(found.best.begin(), found.best.end(), [](const auto& a, const auto& b) {
    return a.cost.step_seconds < b.cost.step_seconds;
  }));
}

// The bound of the quick search lies below every step, so the best are the same.
TEST_P(PlanOf, QuickSearchFindsTheSameBest) {
  const Inputs inputs = inputs_for(GetParam());
  const Problem problem(inputs, inputs.cluster.gpus);
  const SearchSpace space = space_of(problem, GetParam().fixed);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  for_each_layout(space, problem.job, [&](const Layout& layout, Link) {
    const Cost cost = evaluator.cost(layout);
    ASSERT_LE(step_floor(evaluator.context(), evaluator.chain(layout)), cost.step_seconds)
        << to_string(layout);
  });
  const SearchResult all = search(problem, space, {.top = 3}, {});
  const SearchResult quick = search(problem, space, {.top = 3, .quick = true}, {});
  ASSERT_EQ(quick.best.size(), all.best.size());
  for (std::size_t i = 0; i < all.best.size(); ++i) {
    EXPECT_EQ(to_string(quick.best[i].layout), to_string(all.best[i].layout));
    EXPECT_EQ(quick.best[i].cost.step_seconds, all.best[i].cost.step_seconds);
  }
  const Searched& s = quick.searched;
  EXPECT_GT(s.pruned_by_bound, 0);
  EXPECT_EQ(s.evaluated + s.pruned_by_bound + s.refused_by_memory, s.legal);
  EXPECT_EQ(s.refused_by_memory, all.searched.refused_by_memory);
}

// Searches of several numbers of GPUs share what they compute of a layer; each ends as it does alone, to the
// last bit and the last count.
TEST_P(PlanOf, SearchTogetherFindsWhatEachFindsAlone) {
  const Inputs inputs = inputs_for(GetParam());
  const std::int32_t gpus = inputs.cluster.gpus;
  const Problem one(inputs, gpus), more(inputs, 2 * gpus);
  const std::vector<SearchTask> tasks = {{&more, space_of(more, GetParam().fixed)},
                                         {&one, space_of(one, GetParam().fixed)}};
  const std::vector<SearchResult> together = search_together(tasks, {.top = 2, .quick = true}, {});
  ASSERT_EQ(together.size(), tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const SearchResult alone = search(*tasks[i].problem, tasks[i].space, {.top = 2, .quick = true}, {});
    const Searched &a = alone.searched, &t = together[i].searched;
    EXPECT_EQ(t.legal, a.legal);
    EXPECT_EQ(t.evaluated, a.evaluated);
    EXPECT_EQ(t.pruned_by_bound, a.pruned_by_bound);
    ASSERT_EQ(together[i].best.size(), alone.best.size());
    for (std::size_t n = 0; n < alone.best.size(); ++n) {
      EXPECT_EQ(to_string(together[i].best[n].layout), to_string(alone.best[n].layout));
      EXPECT_EQ(together[i].best[n].cost.step_seconds, alone.best[n].cost.step_seconds);
    }
  }
}

TEST_P(PlanOf, NearMissesDoNotFitAndTheirRemediesDo) {
  const Inputs inputs = inputs_for(GetParam());
  const Problem problem(inputs, inputs.cluster.gpus);
  Evaluator plain(problem.job, problem.machine, inputs.settings);
  const SearchResult found = search(problem, space_of(problem, GetParam().fixed), {.top = 1}, {});
  for (const NearMiss& miss : found.near_misses) {
    EXPECT_FALSE(miss.cost.fits);
    EXPECT_LT(miss.cost.step_seconds, found.best.front().cost.step_seconds);
    if (miss.remedy.empty()) continue;
    // The remedy is one key=value; put over the layout's own keys, it fits.
    const std::string key = miss.remedy.substr(0, miss.remedy.find('=') + 1);
    std::string text = to_string(miss.layout);
    const std::size_t at = text.find(key);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, std::min(text.find(',', at), text.size()) - at, miss.remedy);
    const Cost cost = plain.cost(parse_layout(text, problem.job.gpus));
    EXPECT_TRUE(cost.fits) << text;
    EXPECT_EQ(cost.step_seconds, miss.remedy_seconds) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Small, PlanOf, testing::ValuesIn(kSmall),
                         [](const auto& each) { return "case" + std::to_string(each.index); });

PlanResult plan_of(const Inputs& inputs, std::vector<std::int32_t> gpus,
                   Objective objective = Objective::time) {
  PlanSettings settings;
  settings.gpus = std::move(gpus), settings.objective = objective, settings.top = 4;
  return make_plan(inputs, settings);
}

TEST(Plan, TheSameQuestionHasTheSameAnswer) {
  const Inputs inputs = inputs_of("mixtral-8x7b", "h100-sxm:32", 64, 4096);
  const PlanResult first = plan_of(inputs, {32}), second = plan_of(inputs, {32});
  ASSERT_EQ(first.counts[0].best.size(), second.counts[0].best.size());
  for (std::size_t i = 0; i < first.counts[0].best.size(); ++i) {
    const Prediction &a = first.counts[0].best[i], &b = second.counts[0].best[i];
    EXPECT_EQ(to_string(a.layout), to_string(b.layout));
    EXPECT_EQ(a.cost.step_seconds, b.cost.step_seconds);
  }
}

TEST(Plan, TermsOfALoserAddUpToWhatItLosesBy) {
  const Inputs inputs = inputs_of("llama-3.1-8b", "h100-sxm:16", 64, 8192);
  const PlanResult plan = plan_of(inputs, {16});
  const CountResult& count = plan.counts.front();
  ASSERT_EQ(count.behind.size(), count.best.size());
  for (const Comparison& behind : count.behind) {
    double sum = 0;
    for (const TermDifference& term : behind.terms) sum += term.seconds;
    EXPECT_NEAR(sum, behind.seconds, 1e-5 * count.best.front().cost.step_seconds);  // terms are floats
  }
}

TEST(Plan, ObjectivesChooseAmongNumbersOfGpus) {
  const Inputs inputs = inputs_of("llama-3.1-70b", "h100-sxm", 128, 4096);
  const std::vector<std::int32_t> gpus = {8, 32, 128};
  const PlanResult time = plan_of(inputs, gpus), few = plan_of(inputs, gpus, Objective::gpus);
  // 8 GPUs hold 640 GiB; 70.6 G parameters with fp32 master, moments and gradients need 18 bytes each.
  EXPECT_TRUE(time.counts[0].best.empty());
  EXPECT_FALSE(time.counts[0].near_misses.empty());
  EXPECT_EQ(few.counts[few.answer].gpus, 32);
  EXPECT_EQ(time.counts[time.answer].gpus, 128);
  const PlanResult cost = plan_of(inputs, gpus, Objective::cost);
  const auto gpu_seconds = [](const CountResult& count) {
    return count.gpus * count.best.front().cost.step_seconds;
  };
  EXPECT_LE(gpu_seconds(cost.counts[cost.answer]), gpu_seconds(cost.counts[1]));
  EXPECT_LE(gpu_seconds(cost.counts[cost.answer]), gpu_seconds(cost.counts[2]));
}

TEST(Plan, SaysWhyNothingIsLegal) {
  const Inputs inputs = inputs_of("llama-3.1-8b", "h100-sxm:8", 32, 4096);
  const Problem problem(inputs, 8);
  const auto why = [&](const std::string& fixed) {
    return search(problem, space_of(problem, fixed), {.top = 1}, {}).nothing_legal;
  };
  EXPECT_EQ(why("tp=2"), "");
  EXPECT_EQ(why("mb=3"), "global batch 32 not divisible by dp*mb 24");
  EXPECT_THAT(why("ep=2"), testing::HasSubstr("no experts"));
  EXPECT_THAT(why("tp=7"), testing::HasSubstr("is not 8 GPUs"));
}

TEST(Plan, NumbersOfGpusAreListsOrDoublings) {
  EXPECT_THAT(parse_gpus("64"), ElementsAre(64));
  EXPECT_THAT(parse_gpus("128,64"), ElementsAre(64, 128));
  EXPECT_THAT(parse_gpus("64..512"), ElementsAre(64, 128, 256, 512));
  EXPECT_THAT(parse_gpus("24..100"), ElementsAre(24, 48, 96));
  EXPECT_THAT(parse_gpus("1048576..1048576"), ElementsAre(1048576));
  EXPECT_THROW(parse_gpus("64..32"), InputError);
}

TEST(Space, FixedKeysGoBeyondTheLimits) {
  const Inputs inputs = inputs_of("llama-3.1-70b", "h100-sxm:32", 96, 4096);
  const Problem problem(inputs, 32);
  EXPECT_EQ(space_of(problem, "").max_tp, 8);
  std::int64_t wide = 0, three = 0, ring = 0;
  for_each_layout(space_of(problem, "tp=16"), problem.job,
                  [&](const Layout& l, Link) { wide += l.tp == 16; });
  for_each_layout(space_of(problem, "mb=3"), problem.job, [&](const Layout& l, Link) { three += l.mb == 3; });
  for_each_layout(space_of(problem, "cp_kind=ring,cp=2"), problem.job,
                  [&](const Layout& l, Link) { ring += l.cp_kind == CpKind::ring; });
  EXPECT_GT(wide, 0);
  EXPECT_GT(three, 0);
  EXPECT_GT(ring, 0);
}

// 64 experts' ranks on eight nodes, messages sent directly: more dispatch than compute. Whatever hides under
// what, the step is as long as its links are busy.
TEST(Plan, APairOfDualpipeHidesNoMoreDispatchThanItComputes) {
  const Inputs inputs = inputs_of("deepseek-v3", "h800:2048", 15360, 4096, "deepseek-v3");
  const Problem problem(inputs, inputs.cluster.gpus);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  for (const char* way : {"direct", "dedup"}) {
    const Layout layout = parse_layout(
        std::string("pp=16,dp=128,ep=64,zero=1,recompute=norm+moe_act+mla_up,schedule=dualpipe,a2a=") + way,
        2048);
    const Prediction p = predict(evaluator, layout);
    const auto ep = std::find_if(p.terms.begin(), p.terms.end(),
                                 [](const TermPrediction& each) { return each.term == Term::ep; });
    ASSERT_NE(ep, p.terms.end());
    EXPECT_GT(p.cost.step_seconds, ep->seconds) << way;
    EXPECT_LT(ep->exposed, ep->seconds) << way;
  }
}

TEST(Space, HoldsWhatTheFrameworkRuns) {
  for (const char* framework : {"megatron", "torchtitan"}) {
    const Inputs inputs = inputs_of("olmoe-1b-7b", "h100-sxm:8", 8, 2048, framework);
    const Problem problem(inputs, 8);
    std::int64_t seen = 0;
    for_each_layout(space_of(problem, ""), problem.job, [&](const Layout& layout, Link) {
      ++seen;
      if (layout.pp > 1 && layout.schedule == kSchedule1F1B) return;  // every framework runs it
      EXPECT_EQ(beyond_framework(inputs.profile, inputs.model, layout), "") << to_string(layout);
    });
    EXPECT_GT(seen, 0);
  }
  const Inputs any = inputs_of("olmoe-1b-7b", "h100-sxm:8", 8, 2048, "any");
  const Problem problem(any, 8);
  std::int64_t beyond = 0;
  for_each_layout(space_of(problem, ""), problem.job, [&](const Layout& layout, Link) {
    beyond += !beyond_framework(any.profile, any.model, layout).empty();
  });
  EXPECT_GT(beyond, 0);
}

}  // namespace
}  // namespace tw
