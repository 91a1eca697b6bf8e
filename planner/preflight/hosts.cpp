#include "planner/preflight/hosts.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>

namespace tw::preflight {
namespace {

constexpr std::string_view kMark = "trainwright-";

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") + 1 - first);
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

// 0 where there is no number.
template <class T>
T number_of(std::string_view text) {
  T value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool numbered(const std::string& word, std::string_view kind) {
  return word.size() > kind.size() && word.starts_with(kind) &&
         std::all_of(word.begin() + static_cast<std::ptrdiff_t>(kind.size()), word.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

// Terminals' colours and underlines, which newer drivers print into pipes too.
std::string plain(const std::string& line) {
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\x1b') {
      out += line[i];
      continue;
    }
    while (i < line.size() && line[i] != 'm') ++i;
  }
  return out;
}

// "mlx5_0 ACTIVE 400 Gb/sec (4X NDR)"
std::optional<NicState> parse_nic(const std::string& line) {
  const std::vector<std::string> words = words_of(line);
  if (words.size() < 3) return std::nullopt;
  NicState out{words[0], words[1] == "ACTIVE", {}};
  if (const auto rate = parse_unit<BytesPerSec>(words[2] + " Gb/s").value) out.rate = *rate;
  return out;
}

using Parts = std::map<std::string, std::vector<std::string>>;  // what the script marks -> its lines

HostState host_of(const std::string& name, const Parts& parts) {
  const auto lines = [&](const char* what) {
    const auto found = parts.find(what);
    return found == parts.end() ? std::vector<std::string>() : found->second;
  };
  HostState out;
  out.name = name;
  for (const std::string& line : lines("rank")) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 2) continue;
    out.ranks.push_back({number_of<std::int32_t>(words[0]), number_of<std::int32_t>(words[1]),
                         words.size() > 2 ? words[2] : std::string()});
  }
  out.gpus = parse_gpus_table(lines("gpus"));
  if (out.gpus.empty() && !lines("gpus").empty()) out.driver_says = lines("gpus").front();
  out.links = parse_topology(lines("links"));
  out.nvlink = parse_nvlink(lines("nvlink"));
  for (const std::string& line : lines("nics")) {
    if (auto nic = parse_nic(line)) out.nics.push_back(std::move(*nic));
  }
  return out;
}

}  // namespace

std::string host_script() {
  return R"sh(h=$(hostname); say() { sed "s|^|trainwright-$1 $h |"; }
r=${OMPI_COMM_WORLD_RANK:-${SLURM_PROCID:-${PMI_RANK:-0}}}; l=${OMPI_COMM_WORLD_LOCAL_RANK:-${SLURM_LOCALID:-0}}
echo "$r $l $(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)" | say rank
if [ "$l" = 0 ]; then
nvidia-smi --query-gpu=index,name,memory.total,memory.used,utilization.gpu,pcie.link.width.current,pcie.link.width.max --format=csv,noheader,nounits 2>&1 | say gpus
nvidia-smi topo -m 2>/dev/null | say links
nvidia-smi nvlink -s 2>/dev/null | say nvlink
for p in /sys/class/infiniband/*/ports/*; do [ -r "$p/rate" ] || continue
d=${p%/ports/*}; echo "${d##*/} $(sed 's/.*: *//' "$p/state") $(cat "$p/rate")"; done | say nics
fi)sh";
}

std::vector<HostState> parse_hosts(const std::vector<std::string>& lines) {
  std::vector<std::string> order;
  std::map<std::string, Parts> hosts;
  for (const std::string& line : lines) {
    const std::size_t mark = line.find(kMark);
    if (mark == std::string::npos) continue;
    const std::size_t space = line.find(' ', mark);
    if (space == std::string::npos) continue;
    const std::string what = line.substr(mark + kMark.size(), space - mark - kMark.size());
    const std::size_t end = std::min(line.find(' ', space + 1), line.size());
    const std::string host = line.substr(space + 1, end - space - 1);
    if (!hosts.contains(host)) order.push_back(host);
    hosts[host][what].push_back(end < line.size() ? line.substr(end + 1) : std::string());
  }
  std::vector<HostState> out;
  for (const std::string& host : order) out.push_back(host_of(host, hosts[host]));
  return out;
}

std::vector<GpuState> parse_gpus_table(const std::vector<std::string>& lines) {
  std::vector<GpuState> out;
  for (const std::string& line : lines) {
    std::vector<std::string> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(trimmed(cell));
    if (cells.size() != 5 && cells.size() != 7) continue;
    const auto gib = [](const std::string& mib) {
      return number_of<double>(mib) * in_gib(*parse_unit<Bytes>("1 MiB").value);
    };
    GpuState gpu{number_of<std::int32_t>(cells[0]), cells[1], gib(cells[2]), gib(cells[3]),
                 number_of<double>(cells[4]) / 100};
    if (cells.size() == 7) {
      gpu.lanes = number_of<std::int32_t>(cells[5]);
      gpu.most_lanes = number_of<std::int32_t>(cells[6]);
    }
    out.push_back(std::move(gpu));
  }
  return out;
}

GpuLinks parse_topology(const std::vector<std::string>& lines) {
  GpuLinks out;
  std::vector<std::string> columns;
  for (const std::string& line : lines) {
    const std::vector<std::string> words = words_of(plain(line));
    if (words.empty()) continue;
    if (columns.empty()) {
      for (const std::string& word : words) {
        if (numbered(word, "GPU") || numbered(word, "NIC") || word.starts_with("mlx"))
          columns.push_back(word);
      }
      continue;
    }
    if (numbered(words[0], "GPU") && words.size() > columns.size()) {
      std::vector<std::string> gpus, nics;
      for (std::size_t i = 0; i < columns.size(); ++i)
        (numbered(columns[i], "GPU") ? gpus : nics).push_back(words[i + 1]);
      out.gpus.push_back(std::move(gpus)), out.nics.push_back(std::move(nics));
      out.cores.push_back(words.size() > columns.size() + 1 ? words[columns.size() + 1] : std::string());
    }
    if (words.size() == 2 && words[0].ends_with(':') && words[0].starts_with("NIC"))
      out.nic_names.push_back(words[1]);
  }
  if (out.nic_names.empty()) {
    std::copy_if(columns.begin(), columns.end(), std::back_inserter(out.nic_names),
                 [](const std::string& each) { return !numbered(each, "GPU"); });
  }
  return out;
}

std::vector<NvlinkState> parse_nvlink(const std::vector<std::string>& lines) {
  std::vector<NvlinkState> out;
  for (const std::string& line : lines) {
    const std::string text = trimmed(line);
    if (text.starts_with("GPU ")) out.emplace_back();
    if (out.empty() || !text.starts_with("Link ")) continue;
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos) continue;
    const auto rate = parse_unit<BytesPerSec>(trimmed(text.substr(colon + 1))).value;
    if (!rate) {
      ++out.back().inactive;
      continue;
    }
    ++out.back().active;
    out.back().rate = out.back().rate + *rate;
  }
  return out;
}

}  // namespace tw::preflight
