// One operation of a step as plain data: what is done, on which stream, after what. The closed form,
// the simulator, the virtual backend and the trainer read the same lists.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "costmodel/calibration.hpp"
#include "costmodel/layout/rank_grid.hpp"
#include "costmodel/training.hpp"

namespace tw {

// What the time of an operation is called in results.
enum class Term : std::uint8_t {
  gemm,
  expert_gemm,
  attention,
  elementwise,
  recompute,
  embedding,
  head,
  tp,
  cp,
  ep,
  gather,
  reduce,
  send,
  bubble,
  optimizer,
  host,
  interference,
  stragglers
};
inline constexpr int kTerms = 18;
std::string_view name_of(Term term);
std::string_view help_of(Term term);
// A rank is in it as long as others let it wait.
bool is_exchange(Term term);

// Streams of one rank. Operations of one stream run in list order. `state` carries parameter gathers
// and gradient reductions; it shares the links of intra and inter.
enum class Stream : std::uint8_t { compute, network, state };
inline constexpr int kStreams = 3;

// Modules a recompute option can name; `other` is never recomputed alone.
enum class Module : std::uint8_t { other, core, attention, mlp, norm, moe_act, mla_up };

struct Elementwise {
  Bytes bytes;  // read and written
  bool backward = false;
};
// Chunks of a state-space scan: products of small matrices between reads and writes.
struct ScanWork {
  Flops flops;
  Bytes bytes;
};
struct CollectiveWork {  // copied: bytes that kernels around it read and write on its stream
  Collective kind = Collective::all_reduce;
  GroupKey group;
  Bytes bytes;  // the whole buffer, as Calibration::collective counts it
  Bytes copied{};
};
// Routed tokens between the ranks of ep: what one rank sends if all experts are drawn equally.
struct DispatchWork {
  GroupKey group;
  Bytes bytes;             // copies of all its tokens: tokens * top_k * width
  double copies = 1;       // top_k
  double nodes_limit = 0;  // node-limited routing: at most so many nodes per token, 0: none
};
// K and V blocks passed around the ranks of cp while attention computes.
struct RingWork {
  GroupKey group;
  Bytes bytes;  // one hop
  std::int32_t hops = 0;
};
struct Synchronise {};  // the host waits for the device here
using Work = std::variant<GemmShape, GroupedGemmShape, AttentionShape, Elementwise, ScanWork, CollectiveWork,
                          DispatchWork, RingWork, Synchronise>;
// Of an operator that moves `bytes`, in a scan with products beside.
Work pointwise_work(double bytes, double flops, bool backward = false);

struct Op {
  std::string_view name;
  Work work;
  Term term = Term::gemm;
  Stream stream = Stream::compute;
  Module module = Module::other;
  bool weight_half = false;      // of the backward: may move to W where the schedule splits it
  bool low_precision = false;    // a GEMM that an fp8 recipe runs in fp8
  Math math = Math::bf16;        // of a GEMM
  std::int16_t routings = 0;     // passes through a third of a routed layer's code on the host
  std::int16_t checkpoints = 0;  // activation checkpoints whose replay begins here
  std::int16_t launches = 1;     // kernels the host starts for it
  double share = 1;              // of the work's time, where one op is issued in parts
  double wire = 1;               // of a collective's bytes, where its tensor travels quantised
  double cast = 1;               // part of a low-precision GEMM's activation that this rank casts for it
  std::array<std::int16_t, 3> after = {-1, -1, -1};  // earlier ops of the list, beyond stream order
};
using OpList = std::vector<Op>;

// One line per op: name, shape, stream, what it waits for. Golden files and --explain print it.
std::string to_string(const Op& op);
std::string to_string(const OpList& ops);

}  // namespace tw
