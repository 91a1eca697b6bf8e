#include "tests/mpi/layouts.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>

#include "planner/enumerate.hpp"

namespace tw::train {
namespace {

constexpr std::string_view kModels[] = {"dense", "tied", "moe", "shared", "tied_moe"};
constexpr std::int32_t kRanks[] = {2, 3, 4, 8, 16};  // of the equality suite

// Every option with its value as a small number; sizes above two count as one value.
constexpr std::size_t kOptions = 18, kMostValues = 16;
using Values = std::array<std::uint8_t, kOptions>;

std::vector<Recompute> recomputes(bool moe) {
  std::vector<Recompute> out;
  for (const char* text : {"none", "full", "full:1", "selective", "attention", "mlp", "norm", "mlp+norm"})
    out.push_back(parse_recompute(text));
  if (moe) out.push_back(parse_recompute("moe_act"));
  return out;
}

Values values_of(std::size_t model, const Layout& l, std::size_t recompute, std::int64_t batches) {
  const auto size = [](std::int64_t value) { return value > 2 ? 3 : static_cast<int>(value); };
  const int all[] = {static_cast<int>(model),
                     size(l.dp),
                     size(l.tp),
                     size(l.pp),
                     size(l.cp),
                     size(l.ep),
                     size(l.etp),
                     size(l.vpp),
                     l.sp ? 1 : 0,
                     l.zero,
                     l.hsdp > 0 ? 1 : 0,
                     size(l.mb),
                     static_cast<int>(recompute),
                     static_cast<int>(l.schedule),
                     static_cast<int>(l.cp_kind),
                     static_cast<int>(l.order),
                     l.split.empty() ? 0 : 1,
                     size(batches)};
  Values out{};
  static_assert(std::size(all) == kOptions && kSchedules <= kMostValues);
  std::copy(std::begin(all), std::end(all), out.begin());
  return out;
}

// Of values of two options.
class Pairs {
 public:
  // How many of these values' pairs were not here before, or are here.
  std::size_t add(const Values& values) {
    return count(values, [&](std::size_t at) { return !std::exchange(has_[at], char{1}); });
  }
  std::size_t remove(const Values& values) {
    return count(values, [&](std::size_t at) { return std::exchange(has_[at], char{0}); });
  }
  std::size_t common(const Values& values) const {
    return count(values, [&](std::size_t at) { return has_[at]; });
  }
  void remove(const Pairs& others) {
    for (std::size_t i = 0; i < has_.size(); ++i) has_[i] = has_[i] > others.has_[i] ? 1 : 0;
  }
  std::size_t size() const { return static_cast<std::size_t>(std::count(has_.begin(), has_.end(), 1)); }

 private:
  static constexpr std::size_t kPlaces = kOptions * kMostValues;
  template <class F>
  static std::size_t count(const Values& values, const F& counts) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < kOptions; ++i) {
      for (std::size_t j = i + 1; j < kOptions; ++j)
        sum +=
            std::size_t{counts((i * kMostValues + values[i]) * kPlaces + j * kMostValues + values[j]) != 0};
    }
    return sum;
  }
  std::vector<char> has_ = std::vector<char>(kPlaces * kPlaces, 0);
};

struct Candidate {
  std::size_t model;
  Layout layout;
  Values values;
};

// All legal layouts of a number of ranks, with up to four sequences a micro-batch.
struct Legal {
  std::int64_t count = 0;
  Pairs pairs;
  std::vector<Candidate> candidates;  // every so manieth, and each that has a pair for the first time
};

// Layers before the last chunk move to the first, where there are enough.
std::vector<std::int32_t> uneven(const Layout& l, std::int32_t layers) {
  std::vector<std::int32_t> out = default_split(layers, l.pp * l.vpp);
  if (out.size() < 2 || out.back() < 2) return {};
  ++out.front(), --out.back();
  return out;
}

Case like(std::int32_t ranks, std::size_t model) {
  return {kModels[model], "", ranks, ranks > 4 ? 16 : 8};
}

void visit(std::int32_t ranks, std::size_t of, std::int32_t layers, std::uint32_t every, Legal& out) {
  const Model model = small_model(kModels[of], layers);
  const Case one = like(ranks, of);
  const Job job{&model, one.batch, one.seq, ranks};
  SearchSpace space;
  space.mb = MicroBatches::divisors;
  space.schedules = (1u << kSchedules) - 1;
  space.cp_kinds = mask_of(CpKind::ring) | mask_of(CpKind::zigzag) | mask_of(CpKind::a2a);
  space.orders = mask_of(AxisOrder::tp_cp_ep_dp_pp) | mask_of(AxisOrder::tp_cp_ep_pp_dp);
  space.recomputes = recomputes(model.has_moe());
  std::uint32_t count = 0;
  for_each_layout(space, job, [&](const Layout& layout, Link) {
    const bool long_model = layout.vpp > 1 || layout.pp > 5;
    if (long_model != (layers == 8) || layout.mb > 4) return;
    ++out.count;
    Candidate next{of, layout, {}};
    if (++count % 7 == 0) next.layout.split = uneven(layout, layers);
    if (!next.layout.split.empty() && !illegal_because(next.layout, job).empty()) next.layout.split = {};
    const auto found = std::find(space.recomputes.begin(), space.recomputes.end(), layout.recompute);
    next.values = values_of(of, layout, static_cast<std::size_t>(found - space.recomputes.begin()),
                            one.batch / layout.dp / layout.mb);
    next.values[16] = next.layout.split.empty() ? 0 : 1;
    const bool first = out.pairs.add(next.values) > 0;
    if (every > 0 && (first || count % every == 0)) out.candidates.push_back(std::move(next));
  });
}
// every: of the candidates; 0: none.
Legal legal(std::int32_t ranks, std::uint32_t every) {
  Legal out;
  for (std::size_t model = 0; model < std::size(kModels); ++model) {
    for (const std::int32_t layers : {5, 8}) visit(ranks, model, layers, every, out);
  }
  return out;
}

std::uint32_t hashed(std::string_view text) {
  std::uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

// In no order that the enumeration has.
std::vector<std::pair<Case, Values>> shuffled(std::int32_t ranks, const std::vector<Candidate>& candidates) {
  std::vector<std::pair<Case, Values>> out;
  for (const Candidate& each : candidates) {
    Case one = like(ranks, each.model);
    one.layout = to_string(each.layout);
    out.emplace_back(std::move(one), each.values);
  }
  const auto key = [](const auto& each) { return hashed(each.first.layout + std::string(each.first.model)); };
  std::stable_sort(out.begin(), out.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  return out;
}

}  // namespace

Chosen choose_cases(std::int32_t ranks, std::size_t limit, std::size_t more) {
  const Legal here = legal(ranks, ranks > 4 ? 31 : ranks > 2 ? 5 : 1);
  const auto all = shuffled(ranks, here.candidates);
  Pairs open = here.pairs, fresh = here.pairs;
  for (const std::int32_t fewer : kRanks) {
    if (fewer < ranks && ranks > 4) fresh.remove(legal(fewer, 0).pairs);
  }
  Chosen out;
  out.legal = here.count, out.pairs = open.size(), out.fresh = fresh.size();
  std::set<std::string> taken;
  const auto take = [&](const auto& each) {
    if (!taken.insert(std::string(each.first.model) + each.first.layout).second) return;
    open.remove(each.second), fresh.remove(each.second);
    out.cases.push_back(each.first);
  };
  const auto cover = [&](const Pairs& wanted, std::size_t most) {
    for (const std::size_t least : {64u, 32u, 16u, 8u, 4u, 2u, 1u}) {
      for (const auto& each : all) {
        if (out.cases.size() < most && wanted.common(each.second) >= least) take(each);
      }
    }
  };
  if (ranks > 4) cover(fresh, all.size());
  cover(open, limit);
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

std::vector<Case> pooled_cases(std::int32_t ranks) {
  std::vector<Case> out;
  for (const char* layout :
       {"dp=4,ep=4,mb=2", "dp=2,cp=2,cp_kind=a2a,ep=2,mb=2", "cp=4,ep=2,etp=2,mb=4,recompute=full",
        "tp=4,sp=1,mb=4,recompute=moe_act", "tp=2,sp=1,cp=2,cp_kind=ring,mb=2", "tp=2,sp=0,dp=2,mb=4,zero=3",
        "pp=4,mb=2,schedule=zb-h1", "dp=2,pp=2,vpp=2,schedule=interleaved,mb=1,ep=2"}) {
    for (const std::string_view model : {"moe", "shared"})
      out.push_back({.model = model, .layout = layout, .ranks = 4, .pooled = true});
  }
  return ranks == 4 ? out : std::vector<Case>{};
}

}  // namespace tw::train
