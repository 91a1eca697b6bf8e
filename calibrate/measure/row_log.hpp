// The raw record of a calibration: a file of JSON lines, the machine first, then one row per measured
// case with every sample. A row is on disk before the next begins; a line cut short by a crash is dropped
// when the run goes on; rows of another machine are never added to.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "topology/described.hpp"

namespace tw {

struct LogMachine {
  std::string gpu, identity, driver, libraries;
  std::int32_t ranks = 1, sms = 0;
  double power_limit_w = 0;
  std::string date, command;
  Defaulted<std::int32_t> nodes{1};         // as NCCL sees them
  Defaulted<std::string> nccl_environment;  // its variables that were set, but for the node's name
};
TW_DESCRIBE(LogMachine, gpu, identity, driver, libraries, ranks, sms, power_limit_w, date, command, nodes,
            nccl_environment);

// use: "fit"; "check": kept out of fits, to judge them; "note": neither.
struct LogRow {
  std::string op;
  std::vector<std::int64_t> shape;
  std::string use;
  std::vector<double> us;  // of one execution: each sample the mean of a batch
  double clock_mhz = 0, power_w = 0, heat_c = 0;
  std::int64_t held_down = 0;  // NVML's reasons, as bits
};
TW_DESCRIBE(LogRow, op, shape, use, us, clock_mhz, power_w, heat_c, held_down);

std::string case_name(const std::string& op, const std::vector<std::int64_t>& shape);

struct LogFile {
  LogMachine machine;
  std::vector<LogRow> rows;
};
// InputError where a whole line is wrong; a last line without its end is dropped.
LogFile parse_log(std::string_view text, const std::string& name);

class RowLog {
 public:
  // writes: one rank of several does; the logs of the others stay empty and do nothing.
  RowLog(std::string path, const LogMachine& machine, bool writes);
  bool has(const std::string& op, const std::vector<std::int64_t>& shape) const;
  void add(const LogRow& row);

 private:
  void append(const std::string& line);
  std::string path_;
  bool writes_;
  std::set<std::string> done_;
};

}  // namespace tw
