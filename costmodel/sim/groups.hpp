// Who meets whom: for every step the kinds of groups that its ranks meet over, and each kind as a partition
// of the ranks. Where ranks stand for others (folding), the partition is of those that are played.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "costmodel/sim/code.hpp"

namespace tw {

// Why they meet: an operation's own exchange; states that are cut over them, or the same on all of them;
// weights that several hold; the norm of all gradients.
enum class Meeting : std::uint8_t { operation, shards, replicas, copies, step };

struct SimGroupKind {
  std::string name;  // "tp", "shards of attention"
  Meeting why = Meeting::operation;
  Scope scope = Scope::attention;     // of the states
  std::vector<std::int32_t> of_rank;  // group of each rank; -1: in none
  std::vector<std::int32_t> first;    // of `members`, by group, and one more
  std::vector<Rank> members;          // in the order of the group
  std::span<const Rank> at(std::int32_t group) const {
    const auto g = static_cast<std::size_t>(group);
    return std::span(members).subspan(static_cast<std::size_t>(first[g]),
                                      static_cast<std::size_t>(first[g + 1] - first[g]));
  }
  std::size_t count() const { return first.size() - 1; }
};

class SimGroups {
 public:
  SimGroups(const Program& program, SimRules rules) : program_(program), rules_(rules) {}
  SmallList<std::int8_t, 4> of(const Step& step, std::int32_t stage);
  const std::vector<SimGroupKind>& kinds() const { return kinds_; }

 private:
  using Members = std::function<std::vector<Rank>(Rank rank)>;
  void add(SmallList<std::int8_t, 4>& out, const std::string& name, const Members& members,
           Meeting why = Meeting::operation, Scope scope = Scope::attention);
  void add_op(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage);
  void add_key(SmallList<std::int8_t, 4>& out, GroupKey key);
  void add_state(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage);
  void add_copies(SmallList<std::int8_t, 4>& out, const Step& step, std::int32_t stage);
  void add_shared(SmallList<std::int8_t, 4>& out, const Unit& unit);

  const Program& program_;
  SimRules rules_;
  std::map<std::string, std::int8_t> known_;  // -1: of one rank each
  std::unordered_map<const Op*, SmallList<std::int8_t, 4>> known_ops_;
  std::vector<SimGroupKind> kinds_;
};

}  // namespace tw
