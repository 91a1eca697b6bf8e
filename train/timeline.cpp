#include "train/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "topology/trace_events.hpp"
#include "train/term_times.hpp"

namespace tw::train {
namespace {

constexpr std::int32_t kTag = (1 << 20) + 11;  // of no other message

std::string lane_name(std::int32_t lane) {
  if (lane == kCompute) return "compute";
  return lane == 0 ? "exchanges" : lane == 1 ? "states" : fmt::format("stages {}", lane - 1);
}

std::string lines_of(const View& view, const Timeline& pieces) {
  TraceEvents out;
  const std::int32_t rank = view.rank().value();
  const auto track = [&](std::int32_t lane) { return TraceEvents::Track{rank, lane + 1}; };
  out.name_process(rank, fmt::format("rank {}", rank));
  std::set<std::int32_t> lanes;
  for (const TimelinePiece& each : pieces) lanes.insert(each.lane);
  for (const std::int32_t lane : lanes) out.name(track(lane), lane_name(lane));
  for (const TimelinePiece& each : pieces) {
    const std::string what = to_string(*each.step, view.units());
    out.slice(track(each.lane), each.waits ? "wait for " + what : what,
              each.waits ? "wait" : name_of(term_of(*each.step, view)), each.begin, each.end);
  }
  return out.lines();
}

}  // namespace

Timeline one_stream(const std::vector<Recorder::Mark>& marks) {
  Timeline out;
  double before = 0;
  for (const Recorder::Mark& mark : marks) {
    out.push_back({kCompute, false, mark.step, before, mark.seconds});
    before = mark.seconds;
  }
  return out;
}

void write_timeline(const std::string& path, const View& view, Messages& messages, const Timeline& own) {
  const Group world = view.world();
  std::string lines = lines_of(view, own);
  auto bytes = static_cast<std::int64_t>(lines.size());
  if (view.rank() != world.front()) {
    messages.send(world.front(), kTag, &bytes, sizeof bytes);
    messages.send(world.front(), kTag, lines.data(), bytes);
    return messages.finish_sends();
  }
  TraceEvents all;
  all.add_lines(lines);
  for (const Rank rank : world) {
    if (rank == world.front()) continue;
    messages.receive(rank, kTag, &bytes, sizeof bytes);
    lines.resize(static_cast<std::size_t>(bytes));
    messages.receive(rank, kTag, lines.data(), bytes);
    all.add_lines(lines);
  }
  Json about = Json::object();
  about.set("model", view.model().name).set("global_batch", view.global_batch());
  about.set("seq", static_cast<std::int64_t>(view.seq()));
  about.set("clocks", "each rank counts from where it began the step");
  write_file(path, all.text(about));
}

}  // namespace tw::train
