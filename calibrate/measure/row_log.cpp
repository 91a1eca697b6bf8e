#include "calibrate/measure/row_log.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "topology/check.hpp"

namespace tw {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool same(const LogMachine& a, const LogMachine& b) {
  return a.identity == b.identity && a.driver == b.driver && a.libraries == b.libraries &&
         a.ranks == b.ranks && *a.nodes == *b.nodes && *a.nccl_environment == *b.nccl_environment;
}

}  // namespace

std::string case_name(const std::string& op, const std::vector<std::int64_t>& shape) {
  std::string name = op;
  for (const std::int64_t each : shape) name += " " + std::to_string(each);
  return name;
}

LogFile parse_log(std::string_view text, const std::string& name) {
  LogFile out;
  bool first = true;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    if (end == std::string_view::npos) break;  // cut short
    const JsonView line = parse_json(text.substr(begin, end - begin), name);
    if (first)
      out.machine = read<LogMachine>(line);
    else
      out.rows.push_back(read<LogRow>(line));
    first = false;
  }
  if (first) throw InputError(name, "", "no whole line: the first must say which machine was measured");
  return out;
}

RowLog::RowLog(std::string path, const LogMachine& machine, bool writes)
    : path_(std::move(path)), writes_(writes) {
  if (!writes_) return;
  const std::string before = std::filesystem::exists(path_) ? text_of(path_) : "";
  if (before.find('\n') == std::string::npos) {
    std::filesystem::remove(path_);
    append(to_json(machine).dump(-1));
    return;
  }
  const LogFile log = parse_log(before, path_);
  if (!same(log.machine, machine))
    throw InputError(path_, "identity",
                     "rows of another machine, driver, library, number of ranks or settings of NCCL (" +
                         log.machine.gpu + " " + log.machine.identity + "); give another --out");
  for (const LogRow& row : log.rows) done_.insert(case_name(row.op, row.shape));
  std::filesystem::resize_file(path_, before.rfind('\n') + 1);
}

bool RowLog::has(const std::string& op, const std::vector<std::int64_t>& shape) const {
  return done_.contains(case_name(op, shape));
}

void RowLog::add(const LogRow& row) {
  done_.insert(case_name(row.op, row.shape));
  append(to_json(row).dump(-1));
}

void RowLog::append(const std::string& line) {
  if (!writes_) return;
  std::ofstream file(path_, std::ios::binary | std::ios::app);
  file << line << '\n' << std::flush;
  if (!file) throw InputError(path_, "", "cannot be written");
}

}  // namespace tw
