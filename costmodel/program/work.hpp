// PassWork: what one layer, the embedding or the head does for one micro-batch, forward and backward,
// and what it keeps in memory. Depends only on PassKey, the model and the profile.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

#include "costmodel/blocks/small_list.hpp"
#include "costmodel/model.hpp"
#include "costmodel/profile.hpp"
#include "costmodel/program/op.hpp"
#include "costmodel/program/operands.hpp"

namespace tw {

// The part of a layout that shapes one layer's ops.
struct PassKey {
  std::int32_t mb = 1, tp = 1, cp = 1, ep = 1, etp = 1;
  bool sp = false;
  CpKind cp_kind = CpKind::zigzag;
  Dispatch dispatch = Dispatch::direct;
  Precision precision = Precision::bf16;
  Recompute recompute;
  friend bool operator==(const PassKey&, const PassKey&) = default;
};
PassKey pass_key(const Layout& layout);

// How tokens spread over experts, and what is done about it.
struct Routing {
  double max_over_mean = 1;    // tokens of the busiest rank of ep over the mean; 1: balanced
  double capacity_factor = 0;  // 0: dropless; else every expert gets exactly this times the mean
  // 0: max_over_mean as it stands; else it follows from the layout (routing.hpp).
  double likeness = 0;
};

// Rows of a weight that are cut over the ranks of a group by themselves: rank r holds `local` rows from
// (r / copies) * local on, as far as there are any; padding may leave the last ranks none. Not cut: every
// rank holds all.
struct RowBlock {
  std::int64_t distinct = 0, local = 0;
  std::int64_t copies = 1;  // ranks that hold the same rows (fewer KV heads than ranks)
  bool cut = false;
};

struct Weight {
  std::string_view name;
  std::int64_t elements = 0;  // of the whole model's layer
  std::int64_t local = 0;     // on one rank
  Scope scope = Scope::attention;
  bool sequence_partial = false;  // read on cut tokens by every rank of tp: its gradient is summed over tp
  bool looked_up = false;         // an embedding table: no FLOPs per token
  bool frozen = false;            // read, never changed: no gradient, no states
  // The same as an array [groups, rows, columns]: groups over the ranks of ep, blocks of rows over
  // those of tp (etp for experts), columns evenly where fewer of them are local.
  std::int64_t groups = 1, local_groups = 1;
  SmallList<RowBlock, 3> rows = {};
  std::int64_t columns = 0, local_columns = 0;
};

struct LayerWork {
  OpList forward;
  OpList backward;                    // recomputation first where it is needed; weight halves flagged
  std::int16_t forward_output = -1;   // the op that the next layer waits for
  std::int16_t backward_output = -1;  // the op that the previous layer waits for
  std::vector<Weight> weights;
  std::int64_t kept_bytes = 0;        // per micro-batch in flight
  std::int64_t deferred_bytes = 0;    // from a backward without its weight halves to these, instead of `kept`
  std::int64_t recomputed_bytes = 0;  // alive only during this layer's backward
  std::int64_t widest_bytes = 0;      // largest working set of one op: inputs, outputs, gradients
  LayerOperands operands;             // where EmitInput asks for them
};

struct EmitInput {
  const Model* model = nullptr;
  const Profile* profile = nullptr;
  PassKey key;
  std::int32_t seq = 0;
  Routing routing;
  bool bytes_only = false;  // weights and kept bytes, no op lists: a third of the work
  bool operands = false;    // also what each op reads and writes, and the ops that cost nothing
  Training training = {};
};

// Rows of the vocabulary on one rank of tp, padded so that the GEMM of the head stays aligned
// (Megatron-LM, --make-vocab-size-divisible-by).
std::int64_t local_vocab(const Model& model, const Profile& profile, std::int32_t tp);

LayerWork emit_layer(const EmitInput& input, const LayerKind& kind);
LayerWork emit_embedding(const EmitInput& input);
LayerWork emit_head(const EmitInput& input);
LayerWork emit_mtp_entry(const EmitInput& input);  // of a multi-token-prediction module, before its layer
// Attention alone, its ring included: q, k and v in, the context out.
LayerWork emit_attention(const EmitInput& input, const Attention& attention);
// The head and loss of one micro-batch on one rank, as its kernel is called.
LossCall loss_call(const EmitInput& input);

}  // namespace tw
