#include "planner/preflight/profile_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "topology/check.hpp"
#include "topology/described.hpp"
#include "topology/registry.hpp"

namespace tw::preflight {
namespace {

struct KernelRule {
  std::string term;
  std::vector<std::string> parts;
};
TW_DESCRIBE(KernelRule, term, parts);
struct KernelNames {
  std::string title;
  std::vector<KernelRule> rules;
  std::vector<std::string> source;
};
TW_DESCRIBE(KernelNames, title, rules, source);

constexpr double kMicro = 1e-6;  // trace events count microseconds

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// A word of its own: "tp" in "mesh_tp", not in "http".
bool has_word(const std::string& text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const auto letter = [&](std::size_t i) {
      return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])) != 0;
    };
    if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return true;
  }
  return false;
}

struct Event {
  std::string name, category;
  double start = 0, length = 0;  // microseconds
  std::int64_t external = -1;    // links a kernel to the operator that started it
  std::string group, dims;
};

double number_or(const JsonView& node, std::string_view key, double absent) {
  const auto found = node.find(key);
  return found && found->is_number() ? found->number() : absent;
}
std::string text_or(const JsonView& node, std::string_view key) {
  const auto found = node.find(key);
  return found && found->is_string() ? found->string() : "";
}

std::optional<Event> event_of(const JsonView& node) {
  if (!node.is_object() || text_or(node, "ph") != "X") return std::nullopt;
  Event out;
  out.name = text_or(node, "name"), out.category = lower(text_or(node, "cat"));
  out.start = number_or(node, "ts", 0), out.length = number_or(node, "dur", 0);
  if (!(out.length >= 0)) return std::nullopt;
  const auto args = node.find("args");
  if (!args || !args->is_object()) return out;
  if (const auto id = args->find("External id"); id && id->is_integer()) out.external = id->integer();
  out.group = lower(text_or(*args, "Process Group Description") + " " + text_or(*args, "Process Group Name"));
  if (const auto dims = args->find("Input Dims")) out.dims = dims->dump();
  return out;
}

bool on_device(const Event& event) {
  return event.category == "kernel" || event.category == "gpu_memcpy" || event.category == "gpu_memset";
}

class Terms {
 public:
  Terms(const Layout& layout, std::int32_t vocabulary)
      : layout_(layout),
        vocabulary_(vocabulary),
        names_(read<KernelNames>(load_json(scenario_path("kernels", "torch")))) {}

  std::optional<Term> of(const Event& event, const std::string& dims) const {
    const std::string name = lower(event.name);
    for (const KernelRule& rule : names_.rules) {
      const bool hit = std::any_of(rule.parts.begin(), rule.parts.end(),
                                   [&](const std::string& part) { return has(name, part); });
      if (!hit) continue;
      if (rule.term == "exchange") return exchange(event, name);
      const Term term = named(rule.term);
      return term == Term::gemm && of_head(dims) ? Term::head : term;
    }
    if (event.category != "kernel") return Term::elementwise;
    return std::nullopt;
  }

 private:
  static Term named(const std::string& name) {
    for (int i = 0; i < kTerms; ++i) {
      if (name_of(static_cast<Term>(i)) == name) return static_cast<Term>(i);
    }
    throw InputError("scenarios/kernels/torch.json", "rules", "unknown term \"" + printable(name) + "\"");
  }

  // A product with the vocabulary, or a rank's part of it, among its sizes.
  bool of_head(const std::string& dims) const {
    for (const std::int32_t size : {vocabulary_, vocabulary_ / std::max(layout_.tp, 1)}) {
      if (size > 0 &&
          (has(dims, "," + std::to_string(size) + "]") || has(dims, "[" + std::to_string(size) + ",")))
        return true;
    }
    return false;
  }

  Term exchange(const Event& event, const std::string& name) const {
    const Layout& l = layout_;
    if (has_word(event.group, "pp") || has(event.group, "pipeline")) return Term::send;
    if (has_word(event.group, "ep") || has(event.group, "expert")) return Term::ep;
    if (has_word(event.group, "tp") || has(event.group, "tensor")) return Term::tp;
    if (has_word(event.group, "cp") || has(event.group, "context")) return Term::cp;
    const bool shards =
        has_word(event.group, "dp") || has_word(event.group, "fsdp") || has(event.group, "shard");
    if (has(name, "allgather")) return shards || l.zero > 0 || l.tp == 1 ? Term::gather : Term::tp;
    if (has(name, "reducescatter")) return shards || l.zero > 0 || l.tp == 1 ? Term::reduce : Term::tp;
    if (has(name, "allreduce")) return shards || l.tp == 1 ? Term::reduce : Term::tp;
    if (has(name, "sendrecv")) return l.ep > 1 ? Term::ep : l.pp > 1 ? Term::send : Term::cp;
    return l.dp > 1 ? Term::reduce : Term::tp;
  }

  const Layout& layout_;
  std::int32_t vocabulary_;
  KernelNames names_;
};

// Time that at least one of these covers.
double covered(std::vector<std::pair<double, double>> spans) {
  std::sort(spans.begin(), spans.end());
  double total = 0, end = -1;
  for (const auto& [from, to] : spans) {
    if (to <= end) continue;
    total += to - std::max(from, end);
    end = to;
  }
  return total;
}

struct Window {
  double from = 0, to = 0;
  int steps = 1;
};

// ProfilerStep#N marks steps; without them the device work is one.
Window window_of(const std::vector<Event>& events) {
  Window out;
  std::set<std::string> steps;
  bool first = true;
  for (const Event& event : events) {
    const bool step = event.name.starts_with("ProfilerStep#") && !has(event.category, "gpu");
    if (!step) continue;
    steps.insert(event.name);
    out.from = first ? event.start : std::min(out.from, event.start);
    out.to = first ? event.start + event.length : std::max(out.to, event.start + event.length);
    first = false;
  }
  if (!steps.empty()) {
    out.steps = static_cast<int>(steps.size());
    return out;
  }
  for (const Event& event : events) {
    if (!on_device(event)) continue;
    out.from = first ? event.start : std::min(out.from, event.start);
    out.to = first ? event.start + event.length : std::max(out.to, event.start + event.length);
    first = false;
  }
  return out;
}

std::vector<Event> events_of(const std::string& path) {
  const JsonView file = load_json(path);
  const JsonView list = file.is_array() ? file : file.at("traceEvents");
  if (!list.is_array()) list.fail("must be a list of events");
  std::vector<Event> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto event = event_of(list[i])) out.push_back(std::move(*event));
  }
  return out;
}

}  // namespace

TraceTimes read_trace(const std::string& path, const Layout& layout, std::int32_t vocabulary) {
  const std::vector<Event> events = events_of(path);
  std::map<std::int64_t, std::string> dims;  // of operators, by their id
  for (const Event& event : events) {
    if (event.category == "cpu_op" && event.external >= 0 && !event.dims.empty())
      dims[event.external] = event.dims;
  }
  const Window window = window_of(events);
  const Terms terms(layout, vocabulary);
  TraceTimes out;
  out.steps = window.steps, out.step_seconds = kMicro * (window.to - window.from) / window.steps;
  std::vector<std::pair<double, double>> spans;
  std::map<std::string, double> rest;
  for (const Event& event : events) {
    if (!on_device(event)) continue;
    spans.emplace_back(event.start, event.start + event.length);
    const double seconds = kMicro * event.length / window.steps;
    out.busy += seconds;
    const auto found = dims.find(event.external);
    if (const auto term = terms.of(event, found == dims.end() ? "" : found->second))
      out.seconds[*term] += seconds, out.assigned += seconds;
    else
      rest[event.name] += seconds;
  }
  if (spans.empty())
    throw InputError(path, "traceEvents", "has no device work: profile with CUDA activities");
  out.idle = std::max(0.0, out.step_seconds - kMicro * covered(std::move(spans)) / window.steps);
  out.rest.assign(rest.begin(), rest.end());
  std::sort(out.rest.begin(), out.rest.end(),
            [](const auto& a, const auto& b) { return a.second > b.second; });
  return out;
}

}  // namespace tw::preflight
