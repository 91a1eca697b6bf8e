// The one generator of legal layouts, in a canonical order: search, exhaustive tests, reports and
// plan files read it. It nests as the cost chain does (pass keys, then state, chunk, pipe), so that
// outer links are constant over long runs; dp is chosen before pp, which the GPUs then give.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "costmodel/layout/legality.hpp"

namespace tw {

// A stable 64-bit hash of every key: the same in every run and on every machine. Two of a million
// layouts share one with a probability of 3e-8 (birthday bound, n^2 / 2^65).
enum class LayoutId : std::uint64_t {};
LayoutId layout_id(const Layout& layout);

enum class SpSearch : std::uint8_t {
  both,  // off and on
  off,
  on,          // whenever tp > 1
  on_with_moe  // both, but only on where the model has experts and tp > 1 (as Megatron-LM demands)
};
enum class MicroBatches : std::uint8_t { powers_of_two, divisors };  // of the samples per dp rank

template <class E>
constexpr std::uint8_t mask_of(E value) {
  return static_cast<std::uint8_t>(1u << static_cast<int>(value));
}

// Which options may be searched. What is searched is legal (legality.hpp); this is about what a
// framework can run and what a user wants. Limits and lists give way to keys in `fixed`.
struct SearchSpace {
  std::int32_t max_tp = kLayoutLimit, max_pp = kLayoutLimit, max_cp = kLayoutLimit, max_ep = kLayoutLimit,
               max_mb = kLayoutLimit;
  SpSearch sp = SpSearch::both;
  MicroBatches mb = MicroBatches::powers_of_two;
  bool etp = true;            // false: etp = 1
  bool hsdp = true;           // false: hsdp = 0
  bool vpp = true;            // false: vpp = 1
  bool zero3_with_pp = true;  // false: zero 3 only with pp = 1
  bool zero0_with_dp = true;  // false: zero 0 only with dp*cp = 1, where nothing can be sharded
  std::uint8_t schedules = mask_of(kSchedule1F1B) | mask_of(kScheduleInterleaved);  // bit per index
  std::uint8_t zeros = 0b1111;                                                      // bit per stage
  std::uint8_t cp_kinds = mask_of(CpKind::zigzag);
  std::uint8_t dispatches = mask_of(Dispatch::direct);
  std::uint8_t orders = mask_of(AxisOrder::tp_cp_ep_dp_pp);
  std::uint8_t offloads = mask_of(Offload::none);
  std::uint8_t precisions = mask_of(Precision::bf16);
  std::vector<Recompute> recomputes = {Recompute{}};  // without repetition
  LayoutKeys fixed;                                   // --fix
};

// What was looked at. A prefix of keys that breaks a rule counts once, with all that it would hold.
struct Enumerated {
  std::int64_t legal = 0;
  std::array<std::int64_t, kRules> refused{};  // by rule
};

// Called with each layout and the outermost link whose keys changed since the call before.
class LayoutVisitor {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, LayoutVisitor>)
      LayoutVisitor(F& visit)  // NOLINT: meant to convert; refers to `visit`, which must outlive it
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(visit)))),
        call_([](void* object, const Layout& layout, Link changed) {
          (*static_cast<F*>(object))(layout, changed);
        }) {}
  void operator()(const Layout& layout, Link changed) const { call_(object_, layout, changed); }

 private:
  void* object_;
  void (*call_)(void*, const Layout&, Link);
};

// The layout passed on is one object that changes from call to call; nothing is allocated per layout.
Enumerated visit_layouts(const SearchSpace& space, const Job& job, LayoutVisitor visit);

// The same walk cut at its outermost keys, so that walks of several numbers of GPUs can go side by side: what
// they would compute alike is then computed once.
class LayoutWalk {
 public:
  // Keys of a pass up to recompute. Walks over one space meet them in the order of `place`.
  struct Piece {
    std::array<std::int32_t, 8> place{};
    Layout keys;
  };
  LayoutWalk(const SearchSpace& space, const Job& job);  // which must outlive it
  ~LayoutWalk();
  const std::vector<Piece>& pieces() const;
  void visit(const Piece& piece, LayoutVisitor visit);
  const Enumerated& counts() const;  // of the pieces visited so far

 private:
  class Pieces;
  std::unique_ptr<Pieces> pieces_;
};

template <class F>
Enumerated for_each_layout(const SearchSpace& space, const Job& job, F&& visit) {
  return visit_layouts(space, job, LayoutVisitor(visit));
}

}  // namespace tw
