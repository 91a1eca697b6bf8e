#include "planner/enumerate.hpp"

#include <algorithm>
#include <bit>

#include "topology/check.hpp"

namespace tw {
namespace {

using Sizes = std::vector<std::int32_t>;

Sizes divisors(std::int64_t number, std::int64_t limit) {
  Sizes out;
  for (std::int64_t d = 1; d <= std::min(number, limit); ++d) {
    if (number % d == 0) out.push_back(static_cast<std::int32_t>(d));
  }
  return out;
}

// Values of a mask in increasing order.
Sizes members(std::uint8_t mask) {
  Sizes out;
  for (std::int32_t i = 0; i < 8; ++i) {
    if ((mask >> i & 1) != 0) out.push_back(i);
  }
  return out;
}

// What each key may be, in increasing order.
struct Values {
  Sizes dp, tp, pp, cp, ep, etp, vpp, mb, sp, zero, hsdp, schedule, cp_kind, dispatch, order, offload,
      precision;
  std::vector<Recompute> recompute;
};

Values searched(const SearchSpace& space, const Job& job) {
  const bool moe = job.model->has_moe();
  Values v;
  v.dp = divisors(job.gpus, kLayoutLimit);
  v.tp = divisors(job.gpus, space.max_tp);
  v.pp = divisors(job.gpus, space.max_pp);
  v.cp = divisors(job.gpus, space.max_cp);
  v.ep = divisors(job.gpus, moe ? space.max_ep : 1);
  v.etp = divisors(job.gpus, moe && space.etp ? kLayoutLimit : 1);
  v.vpp = divisors(1, 1);
  if (space.vpp) {
    for (std::int32_t i = 2; i <= job.model->layers(); ++i) v.vpp.push_back(i);
  }
  v.mb = divisors(job.global_batch, space.max_mb);
  if (space.mb == MicroBatches::powers_of_two) {
    std::erase_if(v.mb, [](std::int32_t mb) { return !std::has_single_bit(static_cast<std::uint32_t>(mb)); });
  }
  v.sp = space.sp == SpSearch::off ? Sizes{0} : Sizes{0, 1};
  v.zero = members(space.zeros);
  v.hsdp = space.hsdp ? divisors(job.gpus, kLayoutLimit) : Sizes{};
  v.hsdp.insert(v.hsdp.begin(), 0);
  v.schedule = members(space.schedules);
  v.cp_kind = members(space.cp_kinds);
  v.dispatch = members(space.dispatches);
  v.order = members(space.orders);
  v.offload = members(space.offloads);
  v.precision = members(space.precisions);
  v.recompute = space.recomputes;
  return v;
}

template <class T>
void fix(const LayoutKeys& fixed, LayoutKey key, std::vector<T>& values, T value) {
  if (fixed.has(key)) values = {value};
}

Values values_of(const SearchSpace& space, const Job& job) {
  Values v = searched(space, job);
  const LayoutKeys& fixed = space.fixed;
  const Layout& l = fixed.value;
  fix(fixed, LayoutKey::dp, v.dp, l.dp);
  fix(fixed, LayoutKey::tp, v.tp, l.tp);
  fix(fixed, LayoutKey::pp, v.pp, l.pp);
  fix(fixed, LayoutKey::cp, v.cp, l.cp);
  fix(fixed, LayoutKey::ep, v.ep, l.ep);
  fix(fixed, LayoutKey::etp, v.etp, l.etp);
  fix(fixed, LayoutKey::vpp, v.vpp, l.vpp);
  fix(fixed, LayoutKey::mb, v.mb, l.mb);
  fix(fixed, LayoutKey::sp, v.sp, std::int32_t{l.sp});
  fix(fixed, LayoutKey::zero, v.zero, l.zero);
  fix(fixed, LayoutKey::hsdp, v.hsdp, l.hsdp);
  fix(fixed, LayoutKey::schedule, v.schedule, std::int32_t{l.schedule});
  fix(fixed, LayoutKey::cp_kind, v.cp_kind, static_cast<std::int32_t>(l.cp_kind));
  fix(fixed, LayoutKey::a2a, v.dispatch, static_cast<std::int32_t>(l.dispatch));
  fix(fixed, LayoutKey::order, v.order, static_cast<std::int32_t>(l.order));
  fix(fixed, LayoutKey::offload, v.offload, static_cast<std::int32_t>(l.offload));
  fix(fixed, LayoutKey::precision, v.precision, static_cast<std::int32_t>(l.precision));
  fix(fixed, LayoutKey::recompute, v.recompute, l.recompute);
  return v;
}

class Walker {
 public:
  Walker(const SearchSpace& space, const Job& job, LayoutVisitor visit)
      : space_(space), job_(job), visit_(visit), values_(values_of(space, job)), moe_(job.model->has_moe()) {
    if (space.fixed.has(LayoutKey::split)) layout_.split = space.fixed.value.split;
  }

  Enumerated run() {
    walk_sizes();
    return counts_;
  }

  // The walk in two: to the pieces, and on from one of them.
  using Piece = LayoutWalk::Piece;
  std::vector<Piece> pieces() {
    std::vector<Piece> out;
    collect_ = &out;
    walk_sizes();
    collect_ = nullptr;
    return out;
  }
  void run(const Piece& piece, LayoutVisitor visit) {
    visit_ = visit;
    layout_ = piece.keys;
    walk_precision();
  }
  const Enumerated& counts() const { return counts_; }

 private:
  template <class Field, class Then>
  static void each(const Sizes& values, Field& field, Then then) {
    for (const std::int32_t value : values) {
      field = static_cast<Field>(value);
      then();
    }
  }

  bool obeys(Link link) {
    const int rule = first_broken_rule(layout_, job_, link);
    if (rule >= 0) ++counts_.refused[static_cast<std::size_t>(rule)];
    return rule < 0;
  }

  void walk_sizes() {
    Layout& l = layout_;
    each(values_.tp, l.tp, [&] {
      each(values_.cp, l.cp, [&] {
        if (job_.gpus % (std::int64_t{l.tp} * l.cp) != 0) return;
        each(values_.ep, l.ep, [&] { each(values_.etp, l.etp, [&] { walk_sp(); }); });
      });
    });
  }

  bool wants_sp() const {
    if (space_.fixed.has(LayoutKey::sp) || layout_.tp == 1) return true;
    const bool must = space_.sp == SpSearch::on || (space_.sp == SpSearch::on_with_moe && moe_);
    return layout_.sp || !must;
  }

  void walk_sp() {
    Layout& l = layout_;
    if (job_.gpus % (std::int64_t{l.ep} * l.etp) != 0) return;
    each(values_.sp, l.sp, [&] {
      if (!wants_sp()) return;
      each(values_.cp_kind, l.cp_kind,
           [&] { each(values_.dispatch, l.dispatch, [&] { walk_recompute(); }); });
    });
  }

  void walk_recompute() {
    Layout& l = layout_;
    for (const Recompute& recompute : values_.recompute) {
      l.recompute = recompute;
      if (!obeys(Link::pass)) continue;
      if (collect_ != nullptr)
        collect_->push_back({place(static_cast<std::int32_t>(&recompute - values_.recompute.data())), l});
      else
        walk_precision();
    }
  }

  std::array<std::int32_t, 8> place(std::int32_t recompute) const {
    const Layout& l = layout_;
    return {l.tp, l.cp, l.ep, l.etp, l.sp ? 1 : 0, static_cast<std::int32_t>(l.cp_kind),
            static_cast<std::int32_t>(l.dispatch), recompute};
  }

  void walk_precision() {
    Layout& l = layout_;
    each(values_.precision, l.precision, [&] {
      each(values_.mb, l.mb, [&] {
        changed_ = Link::pass;
        walk_dp();
      });
    });
  }

  void walk_dp() {
    Layout& l = layout_;
    each(values_.dp, l.dp, [&] {
      const std::int64_t stage = std::int64_t{l.dp} * l.tp * l.cp;
      if (stage > job_.gpus || job_.gpus % stage != 0) return;
      l.pp = static_cast<std::int32_t>(job_.gpus / stage);
      if (!std::binary_search(values_.pp.begin(), values_.pp.end(), l.pp)) return;
      walk_state();
    });
  }

  bool runs_zero() const {
    const Layout& l = layout_;
    if (l.zero == 0) return space_.zero0_with_dp || l.dp * l.cp == 1;
    return l.zero < 3 || l.pp == 1 || space_.zero3_with_pp;
  }

  void walk_state() {
    Layout& l = layout_;
    l.zero = l.hsdp = 0;  // sharding only adds rules, so what breaks without it is broken with it
    if (!obeys(Link::state)) return;
    each(values_.offload, l.offload, [&] {
      each(values_.zero, l.zero, [&] {
        if (!space_.fixed.has(LayoutKey::zero) && !runs_zero()) return;
        each(values_.hsdp, l.hsdp, [&] {
          if (!obeys(Link::state)) return;
          changed_ = std::min(changed_, Link::state);
          walk_chunks();
        });
      });
    });
  }

  void walk_chunks() {
    Layout& l = layout_;
    const std::int32_t most = std::max(1, job_.model->layers() / l.pp);  // beyond, chunks are empty
    for (const std::int32_t vpp : values_.vpp) {
      if (vpp > most) break;
      l.vpp = vpp;
      if (!obeys(Link::chunk)) continue;
      changed_ = std::min(changed_, Link::chunk);
      each(values_.schedule, l.schedule, [&] { each(values_.order, l.order, [&] { leaf(); }); });
    }
  }

  void leaf() {
    if (!obeys(Link::pipe)) return;
    ++counts_.legal;
    visit_(layout_, changed_);
    changed_ = Link::pipe;
  }

  const SearchSpace& space_;
  const Job& job_;
  LayoutVisitor visit_;
  Values values_;
  bool moe_;
  Layout layout_;
  Link changed_ = Link::pass;
  Enumerated counts_;
  std::vector<Piece>* collect_ = nullptr;
};

// One round of the SplitMix64 finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits.
std::uint64_t mixed(std::uint64_t hash, std::int64_t value) {
  std::uint64_t x = hash + 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(value);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Two 31-bit sizes in one word.
std::int64_t pair(std::int32_t a, std::int32_t b) {
  return std::int64_t{a} << 32 | b;
}

std::int64_t small_keys(const Layout& l) {
  std::int64_t packed = 0;
  for (const int key :
       {int{l.sp}, l.zero, int{l.schedule}, static_cast<int>(l.cp_kind), static_cast<int>(l.dispatch),
        static_cast<int>(l.order), static_cast<int>(l.offload), static_cast<int>(l.precision)}) {
    packed = packed << 4 | key;
  }
  return packed;
}

}  // namespace

LayoutId layout_id(const Layout& l) {
  std::uint64_t hash = 0;
  for (const std::int64_t word : {pair(l.dp, l.tp), pair(l.pp, l.cp), pair(l.ep, l.etp), pair(l.vpp, l.mb),
                                  pair(l.hsdp, l.recompute.full_layers), small_keys(l),
                                  pair(l.recompute.full ? 1 : 0, l.recompute.modules)}) {
    hash = mixed(hash, word);
  }
  for (const std::int32_t layers : l.split) hash = mixed(hash, layers);
  return static_cast<LayoutId>(hash);
}

namespace {

const Job& checked(const Job& job) {
  TW_CHECK(job.model != nullptr && job.gpus >= 1 && job.gpus <= kLayoutLimit && job.global_batch >= 1 &&
           job.seq >= 1);
  return job;
}

constexpr auto kNobody = [](const Layout&, Link) {};

}  // namespace

Enumerated visit_layouts(const SearchSpace& space, const Job& job, LayoutVisitor visit) {
  return Walker(space, checked(job), visit).run();
}

class LayoutWalk::Pieces {
 public:
  Pieces(const SearchSpace& space, const Job& job) : walker(space, job, kNobody), list(walker.pieces()) {}
  Walker walker;
  std::vector<Piece> list;
};

LayoutWalk::LayoutWalk(const SearchSpace& space, const Job& job)
    : pieces_(std::make_unique<Pieces>(space, checked(job))) {}
LayoutWalk::~LayoutWalk() = default;
const std::vector<LayoutWalk::Piece>& LayoutWalk::pieces() const {
  return pieces_->list;
}
void LayoutWalk::visit(const Piece& piece, LayoutVisitor visit) {
  pieces_->walker.run(piece, visit);
}
const Enumerated& LayoutWalk::counts() const {
  return pieces_->walker.counts();
}

}  // namespace tw
