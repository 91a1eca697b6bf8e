// The pipeline of the recommended layout, slot by slot, as its schedule plays.
#include <fmt/format.h>

#include <algorithm>

#include "costmodel/schedules/schedule.hpp"
#include "reports/section.hpp"
#include "reports/text.hpp"
#include "reports/vega.hpp"

namespace tw {
namespace {

// More bars than this are drawn as the beginning and the end; a pipeline longer than that is not played.
constexpr std::size_t kMostBars = 1600;
constexpr std::int64_t kMostSlots = 400000;
constexpr std::int32_t kMostMicrobatches = 1000000;

struct Played {
  std::string schedule;
  PipeShape shape;
  std::vector<std::vector<PlayedSlot>> stages;
  double seconds = 0;
};

std::vector<ChunkTime> chunk_times(const JsonView& chunks) {
  std::vector<ChunkTime> out;
  const auto or_zero = [](const std::optional<double>& value) { return value.value_or(0); };
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    out.push_back({number_at(chunks[i], "forward_s"), number_at(chunks[i], "backward_s"),
                   or_zero(number_if(chunks[i], "weight_s")), or_zero(number_if(chunks[i], "hidden_s"))});
  }
  return out;
}

std::optional<Played> play_of(const Winner& winner) {
  const auto pipeline = winner.prediction.find("pipeline");
  const Layout layout = layout_of(winner);
  if (!pipeline || layout.pp == 1) return std::nullopt;
  const std::vector<ChunkTime> chunks = chunk_times(pipeline->at("chunks"));
  Played out;
  out.shape = {layout.pp, layout.vpp, count_at(*pipeline, "microbatches", 1, kMostMicrobatches)};
  const Schedule& schedule = schedule_at(layout.schedule);
  out.schedule = schedule.name;
  if (const std::string_view why = schedule.illegal(out.shape); !why.empty()) pipeline->fail(why);
  if (chunks.size() != static_cast<std::size_t>(layout.pp) * static_cast<std::size_t>(layout.vpp))
    pipeline->at("chunks").fail(fmt::format("must have pp x vpp = {} entries", layout.pp * layout.vpp));
  if (static_cast<std::int64_t>(chunks.size()) * out.shape.microbatches > kMostSlots) return std::nullopt;
  out.stages = play_slots(schedule, out.shape, {chunks, number_at(*pipeline, "send_s")});
  for (const auto& stage : out.stages) out.seconds = std::max(out.seconds, stage.back().end);
  return out;
}

std::string_view pass_name(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return "forward";
    case Pass::backward:
      return "backward";
    case Pass::backward_input:
      return "backward, inputs";
    case Pass::weight:
      return "backward, weights";
    case Pass::forward_backward:
      return "forward and backward";
  }
  return {};
}

DataTable bars(const Played& played, double from, double to) {
  DataTable out({{"stage", "stage", Show::count},
                 {"from", "from", Show::seconds},
                 {"to", "to", Show::seconds},
                 {"pass", "pass"},
                 {"mb", "micro-batch", Show::count},
                 {"chunk", "chunk", Show::count}});
  for (std::size_t s = 0; s < played.stages.size(); ++s) {
    for (const PlayedSlot& slot : played.stages[s]) {
      if (slot.end <= from || slot.start >= to) continue;
      out.row({static_cast<double>(s), std::max(slot.start, from), std::min(slot.end, to),
               std::string(pass_name(slot.slot.pass)), static_cast<double>(slot.slot.microbatch),
               static_cast<double>(slot.slot.chunk)});
    }
  }
  return out;
}

Chart chart_of(const Played& played, std::string caption, std::string says, double from, double to) {
  DataTable table = bars(played, from, to);
  Json encoding = Json::parsed(R"vega({
    "y": {"field": "stage", "type": "ordinal", "title": "stage"},
    "x": {"field": "from", "type": "quantitative", "title": "seconds", "scale": {"zero": false, "nice": false}},
    "x2": {"field": "to"}})vega");
  encoding.set("color", coloured(table, "pass",
                                 {{pass_name(Pass::forward), "var(--c1)"},
                                  {pass_name(Pass::backward), "var(--c3)"},
                                  {pass_name(Pass::backward_input), "var(--c3)"},
                                  {pass_name(Pass::weight), "var(--c2)"},
                                  {pass_name(Pass::forward_backward), "var(--c5)"}}));
  Json marks = Json::parsed(R"vega({
    "mark": {"type": "bar", "stroke": "var(--paper)", "strokeWidth": 0.4, "height": 13}})vega");
  return {
      std::move(caption), std::move(says), std::move(table), marks.set("encoding", encoding), 16, "stage"};
}

DataTable idle(const Played& played) {
  DataTable out({{"stage", "stage", Show::count},
                 {"works", "works", Show::seconds},
                 {"idle", "idle", Show::seconds},
                 {"share", "idle share", Show::percent}});
  for (std::size_t s = 0; s < played.stages.size(); ++s) {
    double works = 0;
    for (const PlayedSlot& slot : played.stages[s]) works += slot.end - slot.start;
    out.row({static_cast<double>(s), works, played.seconds - works, 1 - works / played.seconds});
  }
  return out;
}

void add_charts(const Played& played, std::vector<Piece>& out) {
  std::size_t slots = 0;
  for (const auto& stage : played.stages) slots += stage.size();
  const std::string says = fmt::format("What each of {} stages runs when", played.stages.size());
  if (slots <= kMostBars) {
    out.push_back(chart_of(played, "All slots of the step", says, 0, played.seconds));
    return;
  }
  const double window = played.seconds * static_cast<double>(kMostBars) / 2 / static_cast<double>(slots);
  out.push_back(chart_of(played,
                         "How the pipeline fills; the middle of the step goes on as at the right edge",
                         says + ", at the beginning", 0, window));
  out.push_back(
      chart_of(played, "How it drains", says + ", at the end", played.seconds - window, played.seconds));
}

std::vector<Piece> build(const JsonView& result) {
  const auto winner = winner_of(result);
  const auto played = winner ? play_of(*winner) : std::nullopt;
  if (!played) return {};
  std::vector<Piece> out = {fmt::format(
      "{} over {} stages{}, {} micro-batches: {} from the first forward to the last slot, without "
      "the exchange of gradients and the optimizer.",
      played->schedule, played->shape.pp,
      played->shape.vpp > 1 ? fmt::format(" of {} chunks", played->shape.vpp) : "",
      played->shape.microbatches, seconds_text(played->seconds))};
  add_charts(*played, out);
  out.push_back(Listed{"How long each stage works and is idle", idle(*played), true});
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section pipeline;
constinit const Section pipeline = {"pipeline", 4, "Pipeline", build};
}  // namespace sections
}  // namespace tw
