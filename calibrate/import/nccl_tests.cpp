#include "calibrate/import/nccl_tests.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "costmodel/collectives/algorithm.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using Words = std::vector<std::string_view>;

Words words_of(std::string_view line) {
  Words words;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t begin = line.find_first_not_of(" \t\r", at);
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(line.find_first_of(" \t\r", begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    at = end;
  }
  return words;
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Program {
  std::string_view name;
  Collective kind;
};
constexpr Program kPrograms[] = {{"all_reduce_perf", Collective::all_reduce},
                                 {"all_gather_perf", Collective::all_gather},
                                 {"reduce_scatter_perf", Collective::reduce_scatter},
                                 {"alltoall_perf", Collective::all_to_all},
                                 {"sendrecv_perf", Collective::send}};

// One row of the table: out of place, then in place, four columns each.
struct Measured {
  std::int64_t bytes = 0;
  double us = 0, algbw = 0, busbw = 0;
  std::string_view wrong;
};

class Reader {
 public:
  Reader(const NcclLog& log, const Gpu& gpu) : log_(log), gpu_(gpu), kind_(log.kind) {}

  void line(std::string_view text) {
    ++line_;
    const Words words = words_of(text);
    find_program(text);
    if (words.size() > 2 && words[0] == "#" && words[1] == "Rank") return rank(words);
    if (!words.empty() && number<std::int64_t>(words[0])) row(words);
  }

  ImportedRows finish() {
    if (ranks_.empty() && log_.per_node == 0)
      fail("no line \"#  Rank ...\": say the nodes and the ranks per node");
    const auto nodes = log_.nodes > 0 ? log_.nodes : std::max(1, static_cast<std::int32_t>(hosts_.size()));
    const auto named = static_cast<std::int32_t>(ranks_.size());
    const std::int32_t ranks = log_.per_node > 0 ? log_.per_node * nodes : named;
    if (named > 0 && ranks != named)
      fail("the log names " + std::to_string(named) + " ranks, not " + std::to_string(ranks));
    if (ranks < 2)
      fail("one rank: nothing was exchanged (nccl-tests built without MPI runs each rank alone)");
    if (ranks % nodes != 0)
      fail(std::to_string(ranks) + " ranks do not divide over " + std::to_string(nodes) + " nodes");
    if (!kind_) fail("no name of a program: say which collective it is");
    for (const auto& [line, measured] : found_) keep(line, measured, ranks, nodes);
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& why) const { throw InputError(log_.name, "", why); }
  void skip(int line, const std::string& why) {
    out_.skipped.push_back(log_.name + ":" + std::to_string(line) + ": " + why);
  }

  void find_program(std::string_view text) {
    for (const Program& program : kPrograms) {
      const std::size_t at = text.find(program.name);
      if (at == std::string_view::npos) continue;
      if (kind_ && *kind_ != program.kind) fail("two collectives in one log; one file each");
      kind_ = program.kind;
    }
  }

  // "# Rank 0 [Group 0] Pid 1 on HOST device 0 [0x1b] NAME"
  void rank(const Words& words) {
    const auto id = number<std::int32_t>(words[2]);
    const auto on = std::find(words.begin(), words.end(), "on");
    if (!id || *id < 0 || on == words.end() || on + 1 == words.end())
      return skip(line_, "a rank without a number or a host");
    if (!ranks_.insert(*id).second) fail("rank " + std::to_string(*id) + " twice: several runs in one log");
    hosts_.insert(std::string(*(on + 1)));
  }

  // size count type [redop] [root] then (time algbw busbw wrong) twice.
  void row(const Words& words) {
    constexpr std::size_t kTables = 8, kLeast = kTables + 3;
    if (words.size() < kLeast) return skip(line_, "a row cut short");
    if (words.size() > kLeast + 2) return skip(line_, "more columns than any version has");
    const std::size_t at = words.size() - kTables;
    const auto bytes = number<std::int64_t>(words[0]);
    const auto us = number<double>(words[at]), algbw = number<double>(words[at + 1]),
               busbw = number<double>(words[at + 2]);
    if (!bytes || *bytes < 0 || !number<std::int64_t>(words[1]))
      return skip(line_, "size or count is no number");
    if (!us || !algbw || !busbw) return skip(line_, "time or bandwidth is no number");
    if (*bytes == 0) return skip(line_, "an empty message");
    found_.push_back({line_, {*bytes, *us, *algbw, *busbw, words[at + 3]}});
  }

  void keep(int line, const Measured& m, std::int32_t ranks, std::int32_t nodes) {
    if (!std::isfinite(m.us) || m.us <= 0) return skip(line, "no time");
    const auto wrong = number<double>(m.wrong);
    constexpr double kRounding = 1e-3;  // old versions print the error of a sum
    if (m.wrong != "N/A" && (!wrong || *wrong > kRounding)) return skip(line, "wrong results, or not said");
    // Both bandwidths are printed with two decimals.
    const double algbw = static_cast<double>(m.bytes) / m.us / 1e3, half = 0.0051;
    if (std::abs(algbw - m.algbw) > half + 0.01 * algbw)
      return skip(line, "size over time is not the bandwidth beside it");
    const double factor = *kind_ == Collective::send ? 1 : bus_factor(*kind_, ranks);
    if (std::abs(m.algbw * factor - m.busbw) > 2 * half + 0.01 * m.busbw)
      return skip(line,
                  "bus bandwidth is not that of this collective on " + std::to_string(ranks) + " ranks");
    CollectiveRow row;
    row.use = "fit", row.gpu = log_.gpu, row.collective = *kind_;
    row.algorithm = log_.algorithm.empty() ? std::string(usual_algorithm(*kind_)) : log_.algorithm;
    row.ranks = ranks, row.nodes = nodes, row.intra = gpu_.nvlink_one_way, row.inter = log_.inter;
    row.bytes = Bytes(m.bytes), row.time = microseconds(m.us), row.source = log_.source;
    out_.rows.push_back(row);
  }

  const NcclLog& log_;
  const Gpu& gpu_;
  std::optional<Collective> kind_;
  std::set<std::int32_t> ranks_;
  std::set<std::string> hosts_;
  std::vector<std::pair<int, Measured>> found_;
  ImportedRows out_;
  int line_ = 0;
};

}  // namespace

ImportedRows read_nccl_tests(std::string_view text, const NcclLog& log, const Gpu& gpu) {
  Reader reader(log, gpu);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    reader.line(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return reader.finish();
}

}  // namespace tw
