// What the ranks of a group send and receive when they exchange: within their nodes, out of them, and of that
// over the uplinks of their leaves. Rings cut what leaves a node among its members, whose turn it is in one
// ring each (NCCL's rings); an all-to-all follows the matrix of who sends what to whom, by one of the ways of
// Dispatch. derived from who sends to whom; oracle: tests/unit/costmodel/sim_traffic_test.cpp by hand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tw {

// round: each sends to the next until all bytes have been everywhere (gather, reduce-scatter); twice_round:
// twice (all-reduce); next: all to the next rank of the group (ring attention); direct: every pair for
// itself; two_level: to the rank of the own node that has the receiver's place in its node, and from there to
// it (Tutel's 2DH, arXiv 2206.03382, section 3.3); rail: to the rank of the receiver's node at the own place,
// which forwards it over NVLink; dedup: as rail, and one copy per token and node (DeepSeek-V3, arXiv
// 2412.19437, section 3.2.2).
enum class Traffic : std::uint8_t { round, twice_round, next, direct, two_level, rail, dedup };

// What a member puts in.
struct Cargo {
  std::int64_t bytes = 0;
  Traffic pattern = Traffic::round;
  float copies = 1, most_nodes = 0;  // of a token, for dedup; nodes: 0 any
  std::int16_t matrix = -1;          // of an all-to-all: a SendMatrix that its owner knows; -1: even
  friend auto operator<=>(const Cargo&, const Cargo&) = default;
};

// Where a rank is. Leaves are numbered through the pods.
struct Place {
  std::int32_t node = 0, nic = 0, leaf = 0, pod = 0;
};

struct Sent {
  double out = 0, in = 0;
};
struct RankTraffic {
  Sent inside, outside, uplink;  // uplink: the part of `outside` that leaves the leaf
};

// Part of a member's bytes that goes to each: rows are senders, which sum to 1; empty: even.
using SendMatrix = std::vector<double>;

// By member.
std::vector<RankTraffic> traffic_of(const Cargo& cargo, std::span<const Place> members, const SendMatrix& to);

}  // namespace tw
