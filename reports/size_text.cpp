#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "reports/size_result.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

std::string interval_text(Seconds time) {
  return in_minutes(time) < 1 ? seconds_text(time.value) : fmt::format("{:.0f} min", in_minutes(time));
}

std::string question_text(const SizeResult& r) {
  const Question& q = r.question;
  std::string out = fmt::format("{}, {} tokens on {}, framework {}, precision {}, calibration {} ({})",
                                q.model, tokens_text(r.tokens), q.cluster, q.framework, q.precision,
                                q.calibration, q.calibration_source);
  if (r.price) out += fmt::format(", {:g} USD per GPU-hour", in_usd_per_hour(*r.price));
  return out + (r.fixed.empty() ? "" : ", fixed " + r.fixed);
}

// Where the job spends most of its time: the layout of a row.
const SizePart& main_part(const SizeRow& row) {
  const SizePart* longest = nullptr;
  for (const SizePhase& phase : row.phases) {
    for (const SizePart& part : phase.parts) {
      if (!longest || part.time > longest->time) longest = &part;
    }
  }
  return *longest;
}

std::string mark(const SizeResult& r, std::size_t i) {
  std::string out = r.rows[i].pareto ? "*" : "";
  if (r.cheapest == i) out += " cheapest";
  if (r.fastest == i) out += " fastest";
  return out;
}

std::vector<std::string> row_cells(const SizeRow& row) {
  const SizePart& last = main_part(row);
  return {count_text(row.gpus),
          std::to_string(row.spare_nodes),
          seconds_text(last.best.cost.step_seconds),
          percent(last.best.mfu),
          percent(row.goodput),
          days_text(row.time),
          hours_text(row.gpu_hours),
          row.cost ? dollars_text(*row.cost) : "-",
          row.energy ? fmt::format("{:.0f}", in_mwh(*row.energy)) : "-",
          interval_text(last.interval)};
}

bool with_spares(const SizeResult& r) {
  return std::any_of(r.rows.begin(), r.rows.end(), [](const SizeRow& row) { return row.spare_nodes > 0; });
}

std::string rows_table(const SizeResult& r, int width) {
  std::vector<Column> columns = {{"GPUs"},
                                 {"spare nodes", Align::right, 5},
                                 {"step"},
                                 {"MFU", Align::right, 4},
                                 {"goodput", Align::right, 3},
                                 {"time"},
                                 {"GPU-hours"},
                                 {"cost"},
                                 {"MWh", Align::right, 6},
                                 {"checkpoint every", Align::right, 7},
                                 {"", Align::left},
                                 {"layout", Align::left, 8}};
  const bool spares = with_spares(r);
  if (!spares) columns.erase(columns.begin() + 1);
  Table table(columns);
  for (std::size_t i = 0; i < r.rows.size(); ++i) {
    const SizeRow& row = r.rows[i];
    std::vector<std::string> cells(10, "-");
    if (row.why_not.empty()) cells = row_cells(row);
    cells[0] = count_text(row.gpus);
    if (!spares) cells.erase(cells.begin() + 1);
    cells.push_back(mark(r, i));
    cells.push_back(row.why_not.empty() ? to_string(main_part(row).best.layout) : row.why_not);
    table.row(std::move(cells));
  }
  return table.text(width) + "* no other is as good in GPUs, time and cost and better in one\n";
}

// Where a job has several phases or batches: each of the answer's.
std::string parts_table(const SizeRow& row, int width) {
  Table table({{"phase", Align::left},
               {"tokens"},
               {"sequences"},
               {"of tokens"},
               {"step"},
               {"goodput", Align::right, 1},
               {"time"},
               {"layout", Align::left, 2}});
  std::size_t parts = 0;
  for (const SizePhase& phase : row.phases) {
    for (const SizePart& part : phase.parts) {
      ++parts;
      table.row({phase.name, tokens_text(part.tokens), count_text(part.global_batch), count_text(phase.seq),
                 seconds_text(part.best.cost.step_seconds), percent(part.goodput), days_text(part.time),
                 to_string(part.best.layout)});
    }
  }
  if (parts < 2) return "";
  return fmt::format("\nPhases on {} GPUs\n", count_text(row.gpus)) + table.text(width);
}

std::string goodput_text(const SizeRow& row) {
  const SizePart& part = main_part(row);
  std::string out = fmt::format(
      "On {} GPUs a failure every {}; a checkpoint of {} takes {} to write and is best every {} (Young: {}); "
      "goodput {}; inside each step, stragglers cost {}",
      count_text(row.gpus), days_text(row.between), gib_text(part.checkpoint.count),
      seconds_text(part.write.value), interval_text(part.interval), interval_text(part.young_interval),
      percent(row.goodput), percent(row.stragglers));
  if (row.spare_nodes > 0 || row.waiting > 0)
    out += fmt::format("; {} spare nodes, waiting for repairs {} of the time", row.spare_nodes,
                       percent(row.waiting));
  return out;
}

}  // namespace

std::string more_text(const SizeResult& r) {
  const SizeRow& now = r.rows[*r.cheapest];
  const SizeMore& more = *r.more;
  std::string out = "The next node";
  if (more.no_layout_until > 0) out += fmt::format(" allows no layout; {} nodes", more.nodes);
  out += fmt::format(": {} GPUs, ", count_text(more.row.gpus));
  if (!more.row.why_not.empty()) return out + more.row.why_not;
  const double saved = in_days(now.time - more.row.time);
  out += fmt::format("{:.2f} days {}{}", std::abs(saved), saved >= 0 ? "sooner" : "later",
                     saved >= 0 ? "" : " (few sizes divide it)");
  if (!now.cost) return out + fmt::format(", {:+.0f} GPU-hours", more.row.gpu_hours - now.gpu_hours);
  const Dollars extra = *more.row.cost - *now.cost;
  return out + fmt::format(" for {} {}", dollars_text(Dollars(std::abs(extra.value))),
                           extra.value >= 0 ? "more" : "less");
}

namespace {

// Then what is left to the published.
std::string terms_table(const SizeRow& row, const PublishedBeside& p, int width) {
  Table table({{"GPU-hours by term", Align::left}, {"best"}, {"published layout"}, {"difference"}});
  double first = 0, second = 0;
  const auto difference = [](double a, double b) {
    return (b < a ? "-" : "+") + hours_text(std::abs(b - a));
  };
  for (const TermHours& term : hours_by_term(row, p)) {
    first += term.best, second += term.published;
    table.row({std::string(name_of(term.term)), hours_text(term.best), hours_text(term.published),
               difference(term.best, term.published)});
  }
  table.row({"all, no failures", hours_text(first), hours_text(second), difference(first, second)});
  if (!p.gpu_hours) return table.text(width);
  const double published = *p.gpu_hours * p.tokens_share;
  table.row({"published", hours_text(published), hours_text(published), ""});
  table.row({"predicted over published", fmt::format("{:.3f}", first / published),
             fmt::format("{:.3f}", second / published), ""});
  return table.text(width);
}

std::string published_text(const SizeRow& row, const PublishedBeside& p, int width) {
  std::string out = fmt::format("\nBeside {} on {} GPUs", p.title, count_text(row.gpus));
  if (p.gpu_hours)
    out += fmt::format(
        ": {} GPU-hours published{}, {} predicted with failures, {} without", hours_text(*p.gpu_hours),
        p.tokens_share == 1 ? "" : fmt::format(" for {:.3g} times the tokens", 1 / p.tokens_share),
        hours_text(row.gpu_hours), hours_text(row.gpus * in_hours(row.steps_time)));
  if (p.effective_time)
    out += fmt::format(": effective training time {} or more published, {} predicted",
                       percent(*p.effective_time), percent(row.goodput));
  out = "\n" + wrapped(out.substr(1), width, 2);
  if (p.layout) {
    const Cost& cost = p.layout->cost;
    out +=
        wrapped(fmt::format("  published layout ({}, {}; {}): {}", p.question.framework, p.question.precision,
                            cost.fits ? "fits"
                                      : fmt::format("predicted {} over the memory",
                                                    gib_text(cost.memory.total() - p.layout->limit.count)),
                            to_string(p.layout->layout)),
                width, 4);
    out += terms_table(row, p, width);
  }
  return out + wrapped("  source: " + p.source, width, 4);
}

std::string misses_text(const SizeRow& row, int width) {
  std::string out;
  for (const NearMiss& miss : row.near_misses) {
    out += wrapped(fmt::format("  nearest: {} over: {}", gib_text(miss.cost.memory.total() - row.limit.count),
                               to_string(miss.layout)),
                   width, 4);
  }
  return out;
}

}  // namespace

std::string to_text(const SizeResult& r, const Terminal& terminal, bool quiet) {
  const int width = terminal.width;
  std::string out = bold(wrapped(r.answer, width, 2), terminal);
  for (const std::string& line : r.nearest) out += wrapped("  " + line, width, 4);
  if (quiet) return out;
  out += wrapped(question_text(r), width, 2) + "\n" + rows_table(r, width);
  if (r.cheapest) {
    out +=
        parts_table(r.rows[*r.cheapest], width) + "\n" + wrapped(goodput_text(r.rows[*r.cheapest]), width, 2);
    if (r.more) out += wrapped(more_text(r), width, 2);
  } else {
    out += misses_text(r.rows.back(), width);
  }
  for (const auto& [row, run] : r.published) out += published_text(r.rows[row], run, width);
  out += "\nFailures and prices\n";
  for (const std::string& source : r.reliability.sources) out += wrapped("  " + source, width, 4);
  return out;
}

}  // namespace tw
