#include "tests/mpi/layouts.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_set>

#include "planner/enumerate.hpp"

namespace tw::train {
namespace {

constexpr std::string_view kModels[] = {"dense", "tied", "moe", "shared", "tied_moe"};

struct Candidate {
  Case one;
  std::vector<std::uint32_t> pairs;  // sorted
};

std::uint32_t hashed(std::string_view text) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

// Every option with its value; large sizes count as one value.
std::vector<std::string> values_of(std::string_view model, const Layout& l, std::int64_t batches) {
  const auto size = [](const char* key, std::int64_t value) {
    return std::string(key) + (value == 1 ? "1" : value == 2 ? "2" : "more");
  };
  std::vector<std::string> out = {"model " + std::string(model),
                                  size("dp", l.dp),
                                  size("tp", l.tp),
                                  size("pp", l.pp),
                                  size("cp", l.cp),
                                  size("ep", l.ep),
                                  size("etp", l.etp),
                                  size("vpp", l.vpp),
                                  l.sp ? "sp" : "no sp",
                                  "zero" + std::to_string(l.zero),
                                  l.hsdp > 0 ? "hsdp" : "no hsdp",
                                  size("mb", l.mb),
                                  "recompute " + to_string(l.recompute),
                                  "schedule " + std::string(schedule_names()[l.schedule]),
                                  "cp kind " + std::to_string(static_cast<int>(l.cp_kind)),
                                  "order " + std::to_string(static_cast<int>(l.order)),
                                  l.split.empty() ? "even" : "split",
                                  size("micro-batches", batches)};
  return out;
}

Candidate candidate(const Case& one, const Layout& layout) {
  Candidate out{one, {}};
  const std::int64_t batches = one.batch / layout.dp / layout.mb;
  std::vector<std::string> values = values_of(one.model, layout, batches);
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = i + 1; j < values.size(); ++j)
      out.pairs.push_back(hashed(values[i] + "|" + values[j]));
  }
  return out;
}

std::vector<Recompute> recomputes(bool moe) {
  std::vector<Recompute> out;
  for (const char* text : {"none", "full", "full:1", "selective", "attention", "mlp", "norm", "mlp+norm"})
    out.push_back(parse_recompute(text));
  if (moe) out.push_back(parse_recompute("moe_act"));
  return out;
}

// Layers before the last chunk move to the first, where there are enough.
std::vector<std::int32_t> uneven(const Layout& l, std::int32_t layers) {
  std::vector<std::int32_t> out = default_split(layers, l.pp * l.vpp);
  if (out.size() < 2 || out.back() < 2) return {};
  ++out.front(), --out.back();
  return out;
}

std::int64_t visit(std::int32_t ranks, std::string_view name, std::int32_t layers,
                   std::vector<Candidate>& out) {
  const Model model = small_model(name, layers);
  const Case like{name, "", ranks, ranks > 4 ? 16 : 8};
  const Job job{&model, like.batch, like.seq, ranks};
  SearchSpace space;
  space.mb = MicroBatches::divisors;
  space.schedules = 0b1111111, space.cp_kinds = 0b111, space.orders = 0b11;
  space.recomputes = recomputes(model.has_moe());
  std::int64_t legal = 0;
  std::uint32_t count = 0;
  const std::uint32_t every = ranks > 4 ? 31 : ranks > 2 ? 5 : 1;
  for_each_layout(space, job, [&](const Layout& layout, Link) {
    const bool long_model = layout.vpp > 1 || layout.pp > 5;
    if (long_model != (layers == 8) || layout.mb > 4) return;
    ++legal;
    if (count++ % every != 0) return;
    Case one = like;
    Layout varied = layout;
    if (count % 7 == 0) varied.split = uneven(layout, layers);
    if (!illegal_because(varied, job).empty()) varied.split = {};
    one.layout = to_string(varied);
    out.push_back(candidate(one, varied));
  });
  return legal;
}

}  // namespace

Chosen choose_cases(std::int32_t ranks, std::size_t limit, std::size_t more) {
  std::vector<Candidate> all;
  Chosen out;
  for (const std::string_view name : kModels) {
    for (const std::int32_t layers : {5, 8}) out.legal += visit(ranks, name, layers, all);
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return hashed(a.one.layout + std::string(a.one.model)) < hashed(b.one.layout + std::string(b.one.model));
  });
  out.candidates = static_cast<std::int64_t>(all.size());
  std::unordered_set<std::uint32_t> open;
  for (const Candidate& each : all) open.insert(each.pairs.begin(), each.pairs.end());
  out.pairs = open.size();
  std::set<std::string> taken;
  const auto take = [&](const Candidate& each) {
    if (!taken.insert(std::string(each.one.model) + each.one.layout).second) return;
    for (const std::uint32_t pair : each.pairs) open.erase(pair);
    out.cases.push_back(each.one);
  };
  for (const std::int64_t wanted : {64, 32, 16, 8, 4, 2, 1}) {
    for (const Candidate& each : all) {
      if (out.cases.size() >= limit) break;
      const auto fresh = std::count_if(each.pairs.begin(), each.pairs.end(),
                                       [&](std::uint32_t pair) { return open.count(pair) > 0; });
      if (fresh >= wanted) take(each);
    }
  }
  out.paired = out.pairs - open.size();
  for (std::size_t i = 0; i < more && !all.empty(); ++i) take(all[i * all.size() / more]);
  return out;
}

std::vector<Case> special_cases(std::int32_t ranks) {
  std::vector<Case> out;
  const auto add = [&](std::string_view model, std::string layout) {
    const Case one{model, std::move(layout), ranks};
    const ProgramInput input = input_of(one);
    Job job = input.job;
    job.model = &input.model;
    if (illegal_because(input.layout, job).empty()) out.push_back(one);
  };
  if (ranks != 2 && ranks != 4) return out;
  const std::string n = std::to_string(ranks), half = std::to_string(ranks / 2);
  for (const std::string_view model : {"padded", "tied_padded"}) {
    for (const char* cut : {",sp=0", ",sp=1"}) {
      add(model, "tp=" + n + cut);
      add(model, "dp=2,zero=3,tp=" + half + cut);
      add(model, "pp=2,tp=" + half + cut);
    }
  }
  for (const std::string schedule : {"zb-h1", "zb-v,vpp=2", "dualpipe", "dualpipe-v,vpp=2"}) {
    for (const char* mb : {",mb=1", ",mb=2"}) {
      add("tied", "pp=" + n + ",schedule=" + schedule + mb);
      for (const char* zero : {",zero=0", ",zero=1", ",zero=2", ",zero=3"})
        add("tied", "dp=2,pp=" + half + ",schedule=" + schedule + mb + zero);
      add("tied", "tp=2,sp=1,pp=" + half + ",schedule=" + schedule + mb);
    }
  }
  return out;
}

}  // namespace tw::train
