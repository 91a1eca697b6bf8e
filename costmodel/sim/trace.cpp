#include "costmodel/sim/trace.hpp"

#include <fmt/format.h>

#include <map>

#include "costmodel/sim/memory.hpp"
#include "topology/trace_events.hpp"

namespace tw {
namespace {

class Writer {
 public:
  Writer(const SimulatedStep& step, const StepContext& context, const Chain& chain)
      : step_(step), context_(context), chain_(chain) {}

  std::string run() {
    for (std::int32_t player = 0; player < static_cast<std::int32_t>(step_.players.size()); ++player)
      add_player(player);
    for (const SimSlice& slice : step_.run.timeline) add_slice(slice);
    add_links();
    Json about = Json::object();
    about.set("model", context_.job.model->name).set("layout", to_string(*chain_.layout));
    about.set("clock", "simulated; a process stands for all ranks that have the same timeline");
    return out_.text(about);
  }

 private:
  void add_player(std::int32_t player) {
    const auto p = static_cast<std::size_t>(player);
    const std::int32_t ranks = step_.players.stands_for[p];
    const std::string others = ranks > 1 ? fmt::format(", and {} like it", ranks - 1) : "";
    out_.name_process(player, fmt::format("rank {}{} (stage {})", step_.players.rank[p].value(), others,
                                          step_.players.stage[p]));
    for (int lane = 0; lane < kLanes; ++lane) out_.name({player, lane + 1}, name_of(static_cast<Lane>(lane)));
    const MemoryOverTime memory = memory_over_time(step_, context_, chain_, player);
    for (const MemoryAt& point : memory.points)
      out_.counter(player, "memory, GiB", seconds(point.at), in_gib(Bytes(point.bytes)));
  }

  void add_slice(const SimSlice& slice) {
    const auto stage = static_cast<std::size_t>(step_.players.stage[static_cast<std::size_t>(slice.player)]);
    const SimOp& op =
        step_.code[stage].lanes[static_cast<std::size_t>(slice.lane)][static_cast<std::size_t>(slice.op)];
    const TraceEvents::Track track{slice.player, static_cast<std::int32_t>(slice.lane) + 1};
    const double begin = seconds(slice.begin), end = seconds(slice.end);
    if (op.step < 0) return out_.slice(track, name_of(op.term), name_of(op.term), begin, end);
    const auto s = static_cast<std::int32_t>(stage);
    const Step& step = step_.program->steps(s)[static_cast<std::size_t>(op.step)];
    std::string name = to_string(step, step_.program->units(s));
    if (op.pieces > 1) name += fmt::format(" ({} of {})", op.piece + 1, op.pieces);
    if (op.bytes() == 0) return out_.slice(track, name, name_of(op.term), begin, end);
    Json about = Json::object();
    about.set("bytes", op.bytes());
    if (!op.groups.empty()) about.set("group", step_.kinds[static_cast<std::size_t>(op.groups.back())].name);
    out_.slice(track, name, name_of(op.term), begin, end, std::move(about));
  }

  // What is under way on each link, as a part of what it can carry.
  void add_links() {
    std::vector<std::map<SimTime, double>> changes(step_.links.size());
    for (const LinkSpan& span : step_.run.link_spans) {
      auto& link = changes[static_cast<std::size_t>(span.link)];
      link[span.begin] += span.share, link[span.end] -= span.share;
    }
    const auto process = static_cast<std::int32_t>(step_.players.size());
    if (!step_.links.empty()) out_.name_process(process, "links, part of their rate");
    for (std::size_t l = 0; l < changes.size(); ++l) {
      double now = 0;
      for (const auto& [at, change] : changes[l]) {
        now += change;
        out_.counter(process, step_.links[l].name, seconds(at), std::max(now, 0.0));
      }
    }
  }

  const SimulatedStep& step_;
  const StepContext& context_;
  const Chain& chain_;
  TraceEvents out_;
};

}  // namespace

std::string trace_text(const SimulatedStep& step, const StepContext& context, const Chain& chain) {
  return Writer(step, context, chain).run();
}

}  // namespace tw
