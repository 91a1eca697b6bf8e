#include "costmodel/sim/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "topology/check.hpp"

namespace tw {
namespace {

class Counter {
 public:
  Counter(const Cargo& cargo, std::span<const Place> members, const SendMatrix& to)
      : cargo_(cargo), members_(members), to_(to), out_(members.size()) {
    TW_CHECK(to.empty() || to.size() == members.size() * members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto [found, made] = node_.try_emplace(members[i].node, nodes_.size());
      if (made) nodes_.emplace_back();
      node_of_.push_back(found->second), place_.push_back(nodes_[found->second].size());
      nodes_[found->second].push_back(i);
    }
  }

  std::vector<RankTraffic> run() {
    switch (cargo_.pattern) {
      case Traffic::round:
        rings(1);
        break;
      case Traffic::twice_round:
        rings(2);
        break;
      case Traffic::next:
        for (std::size_t i = 0; i < out_.size(); ++i) send(i, (i + 1) % out_.size(), bytes());
        break;
      default:
        for (std::size_t i = 0; i < out_.size(); ++i) all_to_all(i);
    }
    return std::move(out_);
  }

 private:
  double bytes() const { return static_cast<double>(cargo_.bytes); }
  double part(std::size_t from, std::size_t to) const {
    return to_.empty() ? 1 / static_cast<double>(out_.size()) : to_[from * out_.size() + to];
  }

  void send(std::size_t from, std::size_t to, double bytes) {
    if (from == to) return;
    const bool home = node_of_[from] == node_of_[to];
    Sent RankTraffic::*tier = home ? &RankTraffic::inside : &RankTraffic::outside;
    (out_[from].*tier).out += bytes, (out_[to].*tier).in += bytes;
    if (home || members_[from].leaf == members_[to].leaf) return;
    out_[from].uplink.out += bytes, out_[to].uplink.in += bytes;
  }

  // As many rings as members of the node: in one of them a member is the one that sends to the next node.
  void rings(double rounds) {
    const auto n = static_cast<double>(out_.size());
    const double round = bytes() * rounds * (n - 1) / n;
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
      const std::vector<std::size_t>& here = nodes_[node];
      const auto k = static_cast<double>(here.size());
      const auto pod_of = [&](std::size_t other) { return members_[nodes_[other].front()].pod; };
      const std::size_t after = (node + 1) % nodes_.size(),
                        before = (node + nodes_.size() - 1) % nodes_.size();
      for (const std::size_t i : here) {
        RankTraffic& t = out_[i];
        if (nodes_.size() == 1) {
          t.inside = {round, round};
          continue;
        }
        const double inside = round * (k - 1) / k, outside = round / k;
        t.inside = {inside, inside}, t.outside = {outside, outside};
        t.uplink = {pod_of(after) == pod_of(node) ? 0 : outside,
                    pod_of(before) == pod_of(node) ? 0 : outside};
      }
    }
  }

  // Of the node's members, the one at this place; where a node has fewer, they take turns.
  std::size_t member(std::size_t node, std::size_t place) const {
    return nodes_[node][place % nodes_[node].size()];
  }
  void all_to_all(std::size_t from) {
    const bool node_first = cargo_.pattern == Traffic::two_level, direct = cargo_.pattern == Traffic::direct;
    for (std::size_t node = 0; node < nodes_.size(); ++node) {
      const bool home = node == node_of_[from];
      const double once = home ? 1 : kept_of(from, node);
      for (const std::size_t to : nodes_[node]) {
        const double bytes = this->bytes() * part(from, to);
        if (direct || home) {
          send(from, to, bytes);
          continue;
        }
        const std::size_t by = node_first ? member(node_of_[from], place_[to]) : member(node, place_[from]);
        send(from, by, bytes * (node_first ? 1 : once)), send(by, to, bytes);
      }
    }
  }

  // Of what goes to a node, the part that is left when a token's copies travel once. derived: each of the
  // copies lies there with the node's part w of the load; distinct 1-(1-w)^copies, at most `most_nodes` of
  // all nodes alike.
  double kept_of(std::size_t from, std::size_t node) {
    if (cargo_.pattern != Traffic::dedup) return 1;
    if (from != known_from_ || once_.empty()) {
      known_from_ = from, once_.assign(nodes_.size(), 0), load_.assign(nodes_.size(), 0);
      double all = 0;
      for (std::size_t i = 0; i < out_.size(); ++i) load_[node_of_[i]] += part(from, i);
      for (std::size_t n = 0; n < nodes_.size(); ++n)
        all += once_[n] = 1 - std::pow(1 - std::min(load_[n], 1.0), static_cast<double>(cargo_.copies));
      const auto limit = static_cast<double>(cargo_.most_nodes);
      if (limit > 0 && all > limit)
        for (double& each : once_) each *= limit / all;
    }
    return load_[node] > 0 ? once_[node] / (load_[node] * static_cast<double>(cargo_.copies)) : 0;
  }

  const Cargo& cargo_;
  std::span<const Place> members_;
  const SendMatrix& to_;
  std::map<std::int32_t, std::size_t> node_;
  std::vector<std::vector<std::size_t>> nodes_;  // members by node, in the order of the group
  std::vector<std::size_t> node_of_, place_;     // by member
  std::size_t known_from_ = 0;
  std::vector<double> once_, load_;  // by node, of `known_from_`
  std::vector<RankTraffic> out_;
};

}  // namespace

std::vector<RankTraffic> traffic_of(const Cargo& cargo, std::span<const Place> members,
                                    const SendMatrix& to) {
  return Counter(cargo, members, to).run();
}

}  // namespace tw
