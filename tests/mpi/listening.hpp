// Messages that are passed on as they are and written down: whom a step of a run speaks with, and how much
// it puts in.
#pragma once

#include <set>

#include "costmodel/program/view.hpp"
#include "tests/mpi/forwarding.hpp"
#include "train/view.hpp"

namespace tw::train {

class Listening final : public Forwarding {
 public:
  using Forwarding::Forwarding;
  std::set<Rank> reached;  // since clear(), without this rank
  std::int64_t bytes = 0;  // put in
  void clear() { reached.clear(), bytes = 0; }

  void all_gather(Group group, const void* piece, std::int64_t size, void* whole) override {
    note(group, size), Forwarding::all_gather(group, piece, size, whole);
  }
  void all_gather_v(Group group, const void* piece, Sizes sizes, void* whole) override {
    note(group, 0), Forwarding::all_gather_v(group, piece, sizes, whole);
  }
  void all_to_all_v(Group group, const void* out, Sizes out_bytes, void* in, Sizes in_bytes) override {
    note(group, 0), Forwarding::all_to_all_v(group, out, out_bytes, in, in_bytes);
  }
  void all_reduce(Group group, double* values, std::int64_t count) override {
    note(group, count * 8), Forwarding::all_reduce(group, values, count);
  }
  void all_reduce(Group group, float* values, std::int64_t count) override {
    note(group, count * 4), Forwarding::all_reduce(group, values, count);
  }
  void reduce_scatter(Group group, const double* whole, Sizes counts, double* piece) override {
    note(group, 0), Forwarding::reduce_scatter(group, whole, counts, piece);
  }
  void reduce_scatter(Group group, const float* whole, Sizes counts, float* piece) override {
    note(group, 0), Forwarding::reduce_scatter(group, whole, counts, piece);
  }
  void send(Rank to, std::int32_t tag, const void* data, std::int64_t size) override {
    const Rank peer[] = {to};
    note(peer, size), Forwarding::send(to, tag, data, size);
  }
  void receive(Rank from, std::int32_t tag, void* data, std::int64_t size) override {
    const Rank peer[] = {from};
    note(peer, size), Forwarding::receive(from, tag, data, size);
  }

 private:
  void note(Group group, std::int64_t size) {
    for (const Rank rank : group) {
      if (rank != self()) reached.insert(rank);
    }
    bytes += size;
  }
};

// What the Program says of a rank's steps: whom each speaks with; of values between stages how much, and of
// the sums of what ranks of a cut share how much at most (states that are cut hold parts of it).
class Expected {
 public:
  explicit Expected(const View& view)
      : rank_(view.rank()),
        places_(places_of(view.program(), view.stage())),
        exchanges_(view.program(), view.rank(), places_, groups_) {}

  // Whether a step did so. A ring goes to neighbours alone.
  bool met(const Step& step, const Listening& heard) {
    std::set<Rank> reached;
    std::int64_t bytes = 0;
    bool ring = false;
    for (const Exchange& each : exchanges_.exchanges(step)) {
      ring = ring || each.kind == Exchange::Kind::ring;
      bytes += each.bytes;
      if (each.group < 0) reached.insert(each.peer);
      if (each.group >= 0) reached.insert(groups_.at(each.group).begin(), groups_.at(each.group).end());
    }
    reached.erase(rank_);
    if (reached.empty() != heard.reached.empty()) return false;
    if (ring) return std::ranges::includes(reached, heard.reached);
    if (step.action == Action::sum_shared) return reached == heard.reached && heard.bytes <= bytes;
    const bool between = step.action == Action::send || step.action == Action::receive;
    return reached == heard.reached && (!between || bytes == heard.bytes);
  }

 private:
  Rank rank_;
  Places places_;
  Groups groups_;
  RankView exchanges_;
};

}  // namespace tw::train
