// A simulation divided over processes (here: threads) against the same one in one, to the last tick.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "costmodel/sim/division.hpp"
#include "costmodel/sim/simulate.hpp"
#include "planner/space.hpp"
#include "tests/support/problems.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

// Boxes of notes, one for each thread.
class Boxes {
 public:
  explicit Boxes(std::int32_t count) : boxes_(static_cast<std::size_t>(count)) {}
  void put(std::int32_t to, SimPeers::Note note) {
    const std::lock_guard lock(mutex_);
    boxes_[static_cast<std::size_t>(to)].push_back(std::move(note));
    came_.notify_all();
  }
  std::optional<SimPeers::Note> take(std::int32_t self, bool wait) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[static_cast<std::size_t>(self)];
    if (wait) came_.wait(lock, [&] { return !box.empty(); });
    if (box.empty()) return std::nullopt;
    SimPeers::Note note = std::move(box.front());
    box.pop_front();
    return note;
  }
  std::int32_t count() const { return static_cast<std::int32_t>(boxes_.size()); }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::deque<SimPeers::Note>> boxes_;
};

SimPeers peers_of(Boxes& boxes, std::int32_t self, std::int64_t& sent) {
  SimPeers out;
  out.self = self, out.count = boxes.count();
  out.send = [&boxes, &sent, self](std::int32_t to, const SimPeers::Words& words) {
    boxes.put(to, {self, words});
    ++sent;
  };
  out.receive = [&boxes, self](bool wait) { return boxes.take(self, wait); };
  return out;
}

struct Posed {
  const char *model, *cluster, *framework;
};
constexpr Posed kPosed[] = {{"llama-3.1-8b", "h100-sxm:32", "megatron"},
                            {"mixtral-8x7b", "h100-sxm:32", "megatron"},
                            {"deepseek-v2-lite", "a100-80g-sxm:32", "megatron"}};
#ifdef __SANITIZE_ADDRESS__
constexpr int kLayouts = 2;
#else
constexpr int kLayouts = 15;
#endif

void expect_same(const RunResult& one, const RunResult& other, const std::string& what) {
  EXPECT_EQ(one.end, other.end) << what;
  EXPECT_EQ(one.events, other.events) << what;
  EXPECT_EQ(one.operations, other.operations) << what;
  EXPECT_EQ(one.program_operations, other.program_operations) << what;
  ASSERT_EQ(one.players.size(), other.players.size());
  for (std::size_t p = 0; p < one.players.size(); ++p) {
    ASSERT_EQ(one.players[p].end, other.players[p].end) << what << " player " << p;
    ASSERT_EQ(one.players[p].terms, other.players[p].terms) << what << " player " << p;
  }
  ASSERT_EQ(one.timeline.size(), other.timeline.size()) << what;
  for (std::size_t i = 0; i < one.timeline.size(); ++i) {
    const SimSlice &a = one.timeline[i], &b = other.timeline[i];
    ASSERT_EQ(std::tuple(a.key(), a.begin), std::tuple(b.key(), b.begin)) << what << " slice " << i;
  }
}

TEST(DividedSimulator, IsTheSameForAnyNumberOfProcesses) {
  std::mt19937_64 random(20261122);
  std::int64_t crossed = 0, parted = 0;
  for (const Posed& asked : kPosed) {
    const Inputs inputs = inputs_of(asked.model, asked.cluster, 64, 4096, asked.framework);
    const Problem problem(inputs, inputs.cluster.gpus);
    std::vector<Layout> all;
    for_each_layout(space_of(problem, ""), problem.job, [&](const Layout& layout, Link) {
      if (layout.dp > 1 && microbatches(layout, problem.job) <= 8) all.push_back(layout);
    });
    std::shuffle(all.begin(), all.end(), random);
    Evaluator evaluator(problem.job, problem.machine, inputs.settings);
    for (int i = 0; i < kLayouts && static_cast<std::size_t>(i) < all.size(); ++i) {
      const Layout& layout = all[static_cast<std::size_t>(i)];
      SimSettings settings;
      settings.unfold = settings.timeline = true;
      if (i % 2 == 1) settings.jitter = 0.1, settings.seed = random() % 1000;
      const SimulatedStep one = simulate(evaluator, layout, inputs.settings.routing, settings);
      for (std::int32_t processes = 2; processes <= 4; ++processes) {
        Boxes boxes(processes);
        std::vector<SimulatedStep> parts(static_cast<std::size_t>(processes));
        std::vector<std::int64_t> sent(static_cast<std::size_t>(processes));
        std::vector<std::thread> threads;
        for (std::int32_t self = 0; self < processes; ++self) {
          threads.emplace_back([&, self] {
            Evaluator own(problem.job, problem.machine, inputs.settings);
            SimPeers peers = peers_of(boxes, self, sent[static_cast<std::size_t>(self)]);
            SimSettings mine = settings;
            mine.peers = &peers;
            parts[static_cast<std::size_t>(self)] = simulate(own, layout, inputs.settings.routing, mine);
          });
        }
        for (std::thread& each : threads) each.join();
        expect_same(one.run, parts[0].run, to_string(layout) + ", " + std::to_string(processes));
        parted += parts[1].run.operations > 0;
        crossed += sent[0] > processes;
      }
    }
  }
  EXPECT_GT(parted, 30 * kLayouts / 15);   // others played a part of it,
  EXPECT_GT(crossed, 30 * kLayouts / 15);  // and had something to say to each other
}

TEST(DividedSimulator, KeepsTogetherWhoExchangesInLayers) {
  const Inputs inputs = inputs_of("mixtral-8x7b", "h100-sxm:32", 64, 4096);
  const Problem problem(inputs, 32);
  Evaluator evaluator(problem.job, problem.machine, inputs.settings);
  SimSettings settings;
  settings.unfold = true;
  // ep 4 folds over tp 2 x dp 8: blocks of tp 2 x dp 2, on both stages, stay together: four of eight ranks.
  const SimulatedStep step =
      simulate(evaluator, parse_layout("dp=8,tp=2,pp=2,ep=4,zero=1", 32), inputs.settings.routing, settings);
  const std::map<std::int32_t, std::vector<int>> wanted = {{2, {16, 16}}, {3, {8, 16, 8}}, {8, {8, 8, 8, 8}}};
  for (const auto& [processes, sizes] : wanted) {
    const Division division = divided(step.players, step.kinds, processes);
    std::map<std::int32_t, int> found;
    for (const std::int32_t part : division.part) ++found[part];
    std::vector<int> played;
    for (const auto& [part, size] : found) played.push_back(size);
    EXPECT_EQ(played, sizes) << processes;
    for (std::size_t r = 0; r < 32; r += 4) {  // order: tp, then dp, then pp
      for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(division.part[r], division.part[r + i]);
    }
  }
}

}  // namespace
}  // namespace tw
