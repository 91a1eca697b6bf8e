// What the ranks of one stage play: the steps of the Program as lists per lane, in order, each operation with
// what must have ended before it. As lanes run in order, "operation n of a lane has ended" is a count, and
// what an operation waits for is a count per lane: nothing is kept per rank but cursors.
#pragma once

#include <array>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "costmodel/blocks/small_list.hpp"
#include "costmodel/price.hpp"
#include "costmodel/program/program.hpp"
#include "costmodel/sim/clock.hpp"
#include "costmodel/sim/traffic.hpp"

namespace tw {

// Streams of a rank, the host where it waits for the device, exchanges under the compute of another
// micro-batch, and what leaves for other stages. Messages of one direction leave in order and may be under
// way together.
enum class Lane : std::uint8_t { compute, network, state, host, aside, forward_out, backward_out };
inline constexpr int kLanes = 7, kCountedLanes = 5;
inline constexpr int kChannels = 4;  // a stage has two neighbours at most, each with two directions
std::string_view name_of(Lane lane);

struct SimOp {
  SimTime work = 0;          // at full rate
  SimTime issue = 0;         // host time from the start of `segment` until it is issued
  std::int32_t segment = 0;  // times that the host has waited for the device; -1: issued before the step
  std::array<std::int32_t, kCountedLanes> need{};  // operations of each lane that must have ended
  std::int32_t arrivals = 0;                       // messages that must have come over `channel`
  std::int32_t lost = 0;        // of an exchange: parts of a million that compute beside it loses
  std::int32_t yields = kFull;  // of a product: parts of a million of its time that an exchange can use
  std::int32_t step = -1;       // of Program::steps; -1: not of the Program (the host, copies)
  std::int8_t channel = -1;
  std::int8_t delivers = -1;  // of a message: the receiver's channel
  std::int16_t to = -1;       // stage, of a message
  Term term = Term::gemm;
  bool listed = false;                        // an operation of a unit's list
  bool routed = false;                        // works on the rows that a rank's experts get
  std::int8_t piece = 0, pieces = 1;          // of an operation that is run in parts
  SmallList<std::int8_t, 4> groups = {};      // kinds of groups that meet before it starts, one after another
  const std::vector<Cargo>* cargo = nullptr;  // over each of them, of a message its own; kept by StageCode
  std::int64_t bytes() const {                // that a member puts in
    std::int64_t sum = 0;
    for (std::size_t i = 0; cargo && i < cargo->size(); ++i) sum += (*cargo)[i].bytes;
    return sum;
  }
};

// How a Program is played.
enum class SimRules : std::uint8_t {
  framework,  // as its profile says: the host issues, slots hand over when their output is there, lists of a
              // forward and a backward of one slot are woven together, exchanges slow compute down
  trainer     // as our trainer's loop: operations wait for the values they read and for nothing else
};

// Of a step: its priced operation, or seconds alone.
struct StepPrice {
  const PricedOp* op = nullptr;  // of Action::op, where the rules ask for more than seconds
  double seconds = 0;
  float lost = -1;      // of state traffic
  bool blocks = false;  // a reduction that compute waits for
};

struct SimPrices {
  std::function<StepPrice(const Step& step, std::int32_t stage)> of;
  // The framework's: of a slot's end, of copies after a unit's pass, between steps; compute beside exchanges
  // whose own loss is not known.
  double standstill = 0, per_step = 0, slowdown = 1;
  std::function<double(std::int32_t stage, std::int32_t unit, bool backward)> copies;
  // Whether an operation works on the rows that its rank's experts get, and its seconds for 1/pieces of them;
  // empty: not asked for.
  std::function<bool(const Step& step, std::int32_t stage)> routed;
  std::function<double(const Step& step, std::int32_t stage, std::int32_t pieces)> piece;
  bool gathers_every = false, reduces_every = false;
  double backward_gathers = 1;  // of a layer, where nothing hides them
};

// Kinds of groups that the ranks of a step meet over.
using GroupsOf = std::function<SmallList<std::int8_t, 4>(const Step& step, std::int32_t stage)>;
// What travels over one of them; kind -1: to another stage.
using CarriedBy = std::function<Cargo(const Step& step, std::int32_t stage, std::int8_t kind)>;

struct StageCode {
  std::array<std::vector<SimOp>, kLanes> lanes;
  std::array<std::int32_t, kChannels> from{};  // stage behind each channel
  std::int32_t channels = 0;
  std::set<std::vector<Cargo>> cargo;  // what operations point to: moved, never copied
  std::size_t bytes() const;
};

struct CodeInput {
  const Program* program = nullptr;
  SimRules rules = SimRules::framework;
  const SimPrices* prices = nullptr;
  GroupsOf groups;
  CarriedBy carried;        // empty: nothing is counted
  std::int32_t pieces = 1;  // that an exchange of routed tokens and the experts beside it are cut into
};
std::vector<StageCode> sim_code(const CodeInput& input);

}  // namespace tw
