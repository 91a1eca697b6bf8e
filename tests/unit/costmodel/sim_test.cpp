// The simulator's engine against a naive one that steps from picosecond to picosecond, and against bubbles as
// published.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "costmodel/sim/run.hpp"
#include "tests/support/sim_play.hpp"
#include "tests/support/small_models.hpp"

namespace tw {
namespace {

// --- naive: every lane of every player looks at every tick whether it may go on ---

class Naive {
 public:
  Naive(const std::vector<StageCode>& code, const Players& players) : code_(code), who_(players) {
    for (std::size_t p = 0; p < who_.size(); ++p) state_.emplace_back();
  }

  std::vector<SimTime> run() {
    SimTime now = 0;
    for (int idle = 0; idle < 100'000; ++now) {
      finish(now);
      while (begin_some(now)) finish(now);
      idle = busy() ? 0 : 100'000;
    }
    std::vector<SimTime> out;
    for (const State& state : state_) out.push_back(state.end);
    return out;
  }

 private:
  struct LaneState {
    std::size_t next = 0;
    bool running = false;
    std::size_t met = 0;  // groups of the operation that wait no more
    bool waits = false;
    SimTime until = 0;
  };
  struct Message {
    SimTime at;
    std::size_t to;
    int channel;
  };
  struct State {
    std::array<LaneState, kLanes> lanes;
    std::array<std::int32_t, kLanes> ended{};
    std::array<std::int32_t, kChannels> arrived{};
    SimTime end = 0;
  };
  const std::vector<SimOp>& ops(std::size_t p, std::size_t lane) const {
    return code_[static_cast<std::size_t>(who_.stage[p])].lanes[lane];
  }
  bool busy() const {
    for (std::size_t p = 0; p < state_.size(); ++p) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        if (state_[p].lanes[lane].next < ops(p, lane).size()) return true;
      }
    }
    return !messages_.empty();
  }
  void finish(SimTime now) {
    for (std::size_t p = 0; p < state_.size(); ++p) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        LaneState& l = state_[p].lanes[lane];
        if (!l.running || l.until != now) continue;
        l = {l.next + 1, false, 0, false, 0};
        ++state_[p].ended[lane];
        state_[p].end = now;
      }
    }
    for (std::size_t i = messages_.size(); i-- > 0;) {
      if (messages_[i].at != now) continue;
      ++state_[messages_[i].to].arrived[static_cast<std::size_t>(messages_[i].channel)];
      messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  bool may(const State& state, const SimOp& op) const {
    for (std::size_t i = 0; i < kCountedLanes; ++i) {
      if (state.ended[i] < op.need[i]) return false;
    }
    return op.channel < 0 || state.arrived[static_cast<std::size_t>(op.channel)] >= op.arrivals;
  }
  // All members of the group that this operation waits for next wait for it too.
  bool all_wait(std::size_t p, std::size_t lane, std::size_t nth, std::vector<std::size_t>& members) const {
    const int kind = ops(p, lane)[state_[p].lanes[lane].next].groups[nth];
    const PlayedKind& played = who_.kinds[static_cast<std::size_t>(kind)];
    bool all = true;
    for (const std::int32_t m : played.at(played.of_player[p])) {
      const auto member = static_cast<std::size_t>(m);
      members.push_back(member);
      const LaneState& l = state_[member].lanes[lane];
      all = all && l.waits && l.met == nth && ops(member, lane)[l.next].groups.size() > nth &&
            ops(member, lane)[l.next].groups[nth] == kind;
    }
    return all;
  }
  bool begin_some(SimTime now) {
    bool some = false;
    for (std::size_t p = 0; p < state_.size(); ++p) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) some = begin(p, lane, now) || some;
    }
    return some;
  }
  bool begin(std::size_t p, std::size_t lane, SimTime now) {
    LaneState& l = state_[p].lanes[lane];
    if (l.running || l.next == ops(p, lane).size()) return false;
    const SimOp& op = ops(p, lane)[l.next];
    if (!l.waits && !may(state_[p], op)) return false;
    if (lane >= static_cast<std::size_t>(Lane::forward_out)) {
      const auto to = static_cast<std::size_t>(who_.peer[p][static_cast<std::size_t>(op.to)]);
      messages_.push_back({now + op.work, to, op.delivers});
      state_[p].end = std::max(state_[p].end, now + op.work);
      ++l.next;
      return true;
    }
    const bool began_to_wait = !l.waits;
    l.waits = true;
    if (l.met == op.groups.size()) {
      l.running = true, l.waits = false, l.until = now + op.work;
      return true;
    }
    std::vector<std::size_t> members;
    if (!all_wait(p, lane, l.met, members)) return began_to_wait;
    for (const std::size_t m : members) ++state_[m].lanes[lane].met;
    return true;
  }

  const std::vector<StageCode>& code_;
  const Players& who_;
  std::vector<State> state_;
  std::vector<Message> messages_;
};

TEST(SimulatorsEngine, IsTheNaiveOne) {
  const char* layouts[] = {"dp=2,tp=2,sp=1,pp=2,zero=1",
                           "dp=4,zero=3,recompute=full",
                           "dp=2,pp=2,zero=2,hsdp=0",
                           "tp=2,pp=2,vpp=2,schedule=interleaved",
                           "pp=4,schedule=zb-h1",
                           "pp=2,vpp=2,schedule=zb-v,dp=2",
                           "pp=4,schedule=dualpipe",
                           "dp=2,ep=2,tp=2,sp=1",
                           "dp=2,cp=2,ep=4",
                           "pp=2,vpp=2,schedule=dualpipe-v"};
  int programs = 0;
  for (const bool experts : {false, true}) {
    for (const char* text : layouts) {
      if (!experts && std::string_view(text).find("ep=") != std::string_view::npos) continue;
      std::int32_t gpus = 1;
      for (const LayoutKey key : {LayoutKey::dp, LayoutKey::tp, LayoutKey::pp, LayoutKey::cp}) {
        const LayoutKeys keys = parse_layout_keys(text, "test");
        const Layout& v = keys.value;
        if (keys.has(key))
          gpus *= key == LayoutKey::dp   ? v.dp
                  : key == LayoutKey::tp ? v.tp
                  : key == LayoutKey::pp ? v.pp
                                         : v.cp;
      }
      const Program program(small_input(small_model(experts, 4), text, gpus, 8));
      for (std::uint64_t seed = 1; seed <= 3; ++seed, ++programs) {
        std::mt19937_64 random(seed);
        StepSeconds table;
        for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
          table.emplace_back();
          for (const Step& step : program.steps(stage)) {
            const bool same = step.action == Action::send || step.action == Action::sum_copies;
            const bool none = step.action == Action::receive || step.action == Action::release;
            const auto drawn = static_cast<double>(same ? 3 * seed : random() % 12);
            table.back().push_back(none ? 0 : drawn / kTicks);
          }
        }
        const PlayedProgram played = play_program(program, table, seed % 2 == 0);
        const std::vector<SimTime> naive = Naive(played.code, played.players).run();
        for (std::size_t p = 0; p < naive.size(); ++p)
          ASSERT_EQ(played.run.players[p].end, naive[p]) << text << " seed " << seed << " player " << p;
      }
    }
  }
  EXPECT_GE(programs, 40);
}

// No code of the simulator knows what a schedule's formula says.
TEST(SimulatorsEngine, NeverAsksAFormula) {
  int files = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(std::string(TW_SOURCE_DIR) + "/costmodel/sim")) {
    std::ifstream in(file.path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    ++files;
    for (const char* word : {"makespan", "Makespan", "paths.hpp"})
      EXPECT_EQ(text.find(word), std::string::npos) << file.path() << " says " << word;
  }
  EXPECT_GT(files, 8);
}

// --- bubbles ---

// A chunk of layers takes `forward`, its input gradients `backward`, its weight gradients `weight`.
struct Even {
  double forward = 1, backward = 1.5, weight = 0.5;
};
double simulated(std::string_view layout, std::int32_t gpus, std::int64_t batch, std::int32_t chunks,
                 Even even) {
  const std::int32_t layers = chunks * 2;
  const Program program(small_input(small_model(false, layers), layout, gpus, batch));
  StepSeconds table;
  for (std::int32_t stage = 0; stage < program.stages(); ++stage) {
    table.emplace_back();
    const std::span<const Unit> units = program.units(stage);
    for (const Step& step : program.steps(stage)) {
      double seconds = 0;
      if (step.action == Action::op && units[static_cast<std::size_t>(step.unit)].kind == Unit::Kind::layer) {
        const OpList& list = units[static_cast<std::size_t>(step.unit)].work->backward;
        const auto first_half = [&] {
          std::int16_t i = 0;
          while (!list[static_cast<std::size_t>(i)].weight_half) ++i;
          return i;
        };
        if (!step.backward && step.op == 0) seconds = even.forward / 2;
        if (step.backward && step.op == 0) seconds = even.backward / 2;
        if (step.backward && step.op == first_half()) seconds = even.weight / 2;
      }
      table.back().push_back(seconds);
    }
  }
  return seconds(play_program(program, table, false).run.end);
}

// Makespan less the work of a stage. 1F1B and GPipe (pp-1)(F+B); interleaved over vpp (Narayanan et al. 2021,
// section 2.2); ZB-H1 (pp-1)(F+B-W) with B the input half (Qi et al. 2023, table 2).
TEST(SimulatorsBubble, IsAsPublished) {
  const Even e;
  const double chunk = e.forward + e.backward + e.weight;
  EXPECT_DOUBLE_EQ(simulated("pp=4", 4, 8, 4, e), 8 * chunk + 3 * chunk);
  EXPECT_DOUBLE_EQ(simulated("pp=4,schedule=gpipe", 4, 8, 4, e), 8 * chunk + 3 * chunk);
  EXPECT_DOUBLE_EQ(simulated("pp=4,vpp=2,schedule=interleaved", 4, 8, 8, e), 2 * 8 * chunk + 3 * chunk);
  EXPECT_DOUBLE_EQ(simulated("pp=4,schedule=zb-h1", 4, 8, 4, e),
                   8 * chunk + 3 * (e.forward + e.backward - e.weight));
}

// All schedules, with the slots played apart from any Program. Of a pair the slots end both parts at once;
// the Program sends what its forward made before its backward.
TEST(SimulatorsBubble, IsThatOfTheSlots) {
  const Even e{1, 1.25, 0.75};
  struct Shape {
    const char* name;
    std::int32_t pp, vpp;
  };
  for (const Shape& s : {Shape{"gpipe", 4, 1},
                         {"1f1b", 4, 1},
                         {"interleaved", 2, 2},
                         {"interleaved", 4, 2},
                         {"zb-h1", 4, 1},
                         {"zb-v", 2, 2},
                         {"zb-v", 4, 2},
                         {"dualpipe", 4, 1},
                         {"dualpipe-v", 2, 2},
                         {"dualpipe-v", 4, 2}}) {
    const std::string layout =
        "pp=" + std::to_string(s.pp) + ",vpp=" + std::to_string(s.vpp) + ",schedule=" + s.name;
    const std::int32_t chunks = s.pp * s.vpp;
    const Layout parsed = parse_layout(layout, s.pp);
    const std::vector<ChunkTime> times(static_cast<std::size_t>(chunks),
                                       {e.forward, e.backward, e.weight, 0});
    const double slots = play(schedule_at(parsed.schedule), {s.pp, s.vpp, 16}, {times, 0}).seconds;
    const double program = simulated(layout, s.pp, 16, chunks, e);
    if (parsed.schedule >= kScheduleDualpipe)
      EXPECT_LE(program, slots + 1e-9) << layout;
    else
      EXPECT_NEAR(program, slots, 1e-9) << layout;
  }
}

}  // namespace
}  // namespace tw
