#include <fmt/format.h>

#include <algorithm>

#include "reports/text.hpp"

namespace tw {
namespace {

// The keys that differ among the layouts become columns; the others are said once.
struct KeyColumns {
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> values;  // per layout
  std::string common;
};

std::vector<std::pair<std::string, std::string>> keys_of(const Layout& layout) {
  std::vector<std::pair<std::string, std::string>> out;
  std::string_view text;
  const std::string whole = to_string(layout);
  for (std::size_t start = 0; start < whole.size();) {
    const std::size_t end = std::min(whole.find(',', start), whole.size());
    text = std::string_view(whole).substr(start, end - start);
    const std::size_t equals = text.find('=');
    out.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    start = end + 1;
  }
  return out;
}

std::string value_of(const std::vector<std::pair<std::string, std::string>>& keys, const std::string& name) {
  for (const auto& [key, value] : keys) {
    if (key == name) return value;
  }
  return "-";
}

KeyColumns key_columns(const std::vector<Prediction>& best) {
  std::vector<std::vector<std::pair<std::string, std::string>>> all;
  std::vector<std::string> names;
  for (const Prediction& p : best) {
    all.push_back(keys_of(p.layout));
    for (const auto& [key, value] : all.back()) {
      if (std::find(names.begin(), names.end(), key) == names.end()) names.push_back(key);
    }
  }
  KeyColumns out;
  out.values.resize(best.size());
  for (const std::string& name : names) {
    const std::string first = value_of(all.front(), name);
    const bool same =
        std::all_of(all.begin(), all.end(), [&](const auto& keys) { return value_of(keys, name) == first; });
    if (same) {
      out.common += (out.common.empty() ? "" : ",") + name + "=" + first;
      continue;
    }
    out.names.push_back(name);
    for (std::size_t i = 0; i < all.size(); ++i) out.values[i].push_back(value_of(all[i], name));
  }
  return out;
}

std::string percent(double share) {
  return fmt::format("{:.1f}%", 100 * share);
}

std::string ranked_table(const CountResult& count, const KeyColumns& keys, int width) {
  std::vector<Column> columns = {
      {"#"},   {"step"},     {"80% band", Align::left, 3}, {"tokens/s/GPU", Align::right, 2},
      {"MFU"}, {"peak GiB"}, {"free GiB", Align::right, 1}};
  if (!count.simulated.empty()) columns.insert(columns.begin() + 2, {"simulated"});
  for (const std::string& name : keys.names) columns.push_back({name});
  Table table(columns);
  for (std::size_t i = 0; i < count.best.size(); ++i) {
    const Prediction& p = count.best[i];
    const std::int64_t peak = p.cost.memory.total();
    std::vector<std::string> cells = {std::to_string(i + 1),
                                      seconds_text(p.cost.step_seconds),
                                      seconds_text(p.low_seconds) + " to " + seconds_text(p.high_seconds),
                                      count_text(static_cast<std::int64_t>(p.tokens_per_s_per_gpu)),
                                      percent(p.mfu),
                                      fmt::format("{:.1f}", in_gib(Bytes(peak))),
                                      fmt::format("{:.1f}", in_gib(p.limit - Bytes(peak)))};
    if (!count.simulated.empty())
      cells.insert(cells.begin() + 2, i < count.simulated.size() ? seconds_text(count.simulated[i]) : "-");
    cells.insert(cells.end(), keys.values[i].begin(), keys.values[i].end());
    table.row(std::move(cells));
  }
  return table.text(width);
}

// Whether the order stands when exchanges share links.
std::string simulated_text(const CountResult& count) {
  if (count.simulated.empty()) return "";
  const auto first = std::min_element(count.simulated.begin(), count.simulated.end());
  const auto place = first - count.simulated.begin() + 1;
  if (std::is_sorted(count.simulated.begin(), count.simulated.end()))
    return "played with links shared, the order stays\n";
  if (place == 1) return "played with links shared, the first stays, others change places\n";
  return fmt::format("played with links shared, number {} is the fastest: {} against {} of the first\n", place,
                     seconds_text(*first), seconds_text(count.simulated.front()));
}

std::string signed_seconds(double seconds) {
  return (seconds < 0 ? "-" : "+") + seconds_text(std::abs(seconds));
}

// What cost the race, then what it won back.
}  // namespace

std::string behind_text(const Comparison& c, double first_seconds) {
  std::string out = fmt::format("{} ({})", signed_seconds(c.seconds), percent(c.seconds / first_seconds));
  std::size_t said = 0;
  for (const TermDifference& term : c.terms) {
    if (said == 3 || std::abs(term.seconds) < 0.0005 * first_seconds) break;
    out += fmt::format("{} {} {}", said == 0 ? ":" : ",", name_of(term.term), signed_seconds(term.seconds));
    ++said;
  }
  if (said == 0) out += ": no term differs";
  return out + (c.distinguishable ? "" : "; not distinguishable from the first");
}

namespace {

std::string why_text(const CountResult& count, int width) {
  std::string out;
  for (std::size_t i = 1; i < count.best.size(); ++i) {
    out += wrapped(
        fmt::format("{:>3}  {}", i + 1, behind_text(count.behind[i], count.best[0].cost.step_seconds)), width,
        5);
  }
  return out;
}

std::string miss_text(const NearMiss& miss, Bytes limit) {
  const std::int64_t peak = miss.cost.memory.total();
  const auto& bytes = miss.cost.memory.bytes;
  const auto largest = static_cast<MemoryPart>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
  const std::string fits =
      miss.remedy.empty() ? std::string("no change of one key makes it fit")
                          : fmt::format("fits with {} at {}", miss.remedy, seconds_text(miss.remedy_seconds));
  return fmt::format("  {} over: peak {}, most of it {} {}; step {}; {}: {}", gib_text(peak - limit.count),
                     gib_text(peak), name_of(largest), gib_text(miss.cost.memory[largest]),
                     seconds_text(miss.cost.step_seconds), fits, to_string(miss.layout));
}

std::string misses_text(const CountResult& count, int width) {
  if (count.searched.legal == 0) return "";
  if (count.near_misses.empty()) {
    return "\nNo layout that memory refused by at most a tenth would be faster.\n";
  }
  std::string out = count.best.empty() ? "\nRefused by memory, nearest first\n"
                                       : "\nFaster, but refused by memory (at most a tenth over)\n";
  for (const NearMiss& miss : count.near_misses) out += wrapped(miss_text(miss, count.limit), width, 4);
  if (!count.best.empty()) return out;
  return out + fmt::format("More GPUs hold more: --gpus {}..{} looks for the smallest number that fits.\n",
                           2 * std::int64_t{count.gpus}, 16 * std::int64_t{count.gpus});
}

std::string searched_text(const Searched& s) {
  return fmt::format(
      "{} legal layouts: {} fit in memory and were predicted, {} refused by memory; {:.2f} s{}",
      count_text(s.legal), count_text(s.evaluated), count_text(s.refused_by_memory), s.seconds,
      s.proven ? "; nothing left out" : "");
}

std::string question_text(const PlanResult& r, const CountResult& count) {
  const Question& q = r.question;
  std::string out = fmt::format("{} on {} x {}, {} sequences of {} tokens, framework {}, calibration {} ({})",
                                q.model, count.gpus, q.cluster, q.global_batch, q.seq, q.framework,
                                q.calibration, q.calibration_source);
  return out + (r.fixed.empty() ? "" : ", fixed " + r.fixed);
}

std::string gpus_text(std::int32_t gpus) {
  return fmt::format("{} GPU{}", gpus, gpus == 1 ? "" : "s");
}

}  // namespace

std::string answer_of(const CountResult& count) {
  if (count.best.empty() && count.searched.legal == 0) {
    return fmt::format("no layout is legal on {}: {}", gpus_text(count.gpus), count.nothing_legal);
  }
  if (count.best.empty()) return fmt::format("no layout fits on {}", gpus_text(count.gpus));
  const Prediction& p = count.best.front();
  return fmt::format(
      "best on {}: {} per step (80% band {} to {}), {} tokens/s/GPU, MFU {}, peak {} of {} usable",
      gpus_text(count.gpus), seconds_text(p.cost.step_seconds), seconds_text(p.low_seconds),
      seconds_text(p.high_seconds), count_text(static_cast<std::int64_t>(p.tokens_per_s_per_gpu)),
      percent(p.mfu), gib_text(p.cost.memory.total()), gib_text(p.limit.count));
}

namespace {

// One row per number of GPUs: what each further step buys.
std::string counts_table(const PlanResult& r, int width) {
  Table table({{"GPUs"},
               {"step"},
               {"speed-up"},
               {"efficiency"},
               {"tokens/s"},
               {"MFU", Align::right, 1},
               {"peak GiB", Align::right, 2},
               {"GPU-seconds/step", Align::right, 3},
               {"layout", Align::left, 4}});
  const CountResult* before = nullptr;
  for (const CountResult& count : r.counts) {
    if (count.best.empty()) {
      table.row({std::to_string(count.gpus), "-", "-", "-", "-", "-", "-", "-",
                 count.searched.legal == 0 ? "no legal layout" : "does not fit"});
      continue;
    }
    const Prediction& p = count.best.front();
    const double step = p.cost.step_seconds;
    const double gain = before ? before->best.front().cost.step_seconds / step : 0;
    const double more = before ? static_cast<double>(count.gpus) / before->gpus : 0;
    table.row({std::to_string(count.gpus), seconds_text(step), before ? fmt::format("{:.2f}x", gain) : "-",
               before ? percent(gain / more) : "-", count_text(static_cast<std::int64_t>(p.tokens_per_s)),
               percent(p.mfu), fmt::format("{:.1f}", in_gib(Bytes(p.cost.memory.total()))),
               fmt::format("{:.0f}", step * count.gpus), to_string(p.layout)});
    before = &count;
  }
  return table.text(width);
}

std::string counts_text(const PlanResult& r, int width) {
  std::string out;
  const auto fits =
      std::find_if(r.counts.begin(), r.counts.end(), [](const CountResult& c) { return !c.best.empty(); });
  if (fits == r.counts.end()) {
    out += "none of these numbers of GPUs fits\n";
  } else {
    out += fmt::format("smallest that fits: {} GPUs; best by {}: {} GPUs\n", fits->gpus, r.objective,
                       r.counts[r.answer].gpus);
  }
  return out + counts_table(r, width) + "speed-up and efficiency: over the line above that fits\n";
}

}  // namespace

std::string to_text(const PlanResult& result, const Terminal& terminal, bool quiet) {
  const CountResult& count = result.counts[result.answer];
  const int width = terminal.width;
  std::string out = bold(wrapped(answer_of(count), width, 2), terminal);
  if (!count.best.empty()) out += wrapped("  " + to_string(count.best.front().layout), width, 4);
  if (quiet) return out;
  out += wrapped(question_text(result, count), width, 2) + wrapped(searched_text(count.searched), width, 2);
  if (result.counts.size() > 1) out += "\n" + counts_text(result, width);
  if (!count.best.empty()) {
    const KeyColumns keys = key_columns(count.best);
    out += "\n" + ranked_table(count, keys, width);
    out += wrapped("all of them: " + keys.common, width, 2);
    out += simulated_text(count);
    if (count.best.size() > 1)
      out += "\nBehind the first, by the largest differences of terms\n" + why_text(count, width);
  }
  out += misses_text(count, width);
  return out;
}

}  // namespace tw
