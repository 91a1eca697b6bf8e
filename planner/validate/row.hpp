// One published or measured training step, in the form of scenarios/published/steps.json. A key that
// is left out or null is unknown; a wrong type spoils its row alone; unknown keys are noted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "topology/json.hpp"

namespace tw::validate {

template <class T>
using Maybe = std::optional<T>;
using MaybeCount = std::optional<std::int32_t>;

struct RowModel {
  std::string name;
  Maybe<double> params_b;  // 10^9 parameters
  MaybeCount layers, hidden, ffn_hidden, heads, kv_heads, head_dim, vocab, seq_len;
  MaybeCount experts, topk, moe_ffn_hidden, shared_experts;
  Maybe<bool> gated_mlp, tied_embeddings;
};

struct RowCluster {
  std::string gpu;   // as the source prints it
  std::string name;  // of scenarios/clusters; wins over gpu
  MaybeCount gpus, gpus_per_node;
  Maybe<double> inter_link_gbps_per_gpu;
};

struct RowLayout {
  MaybeCount dp, tp, pp, vpp, cp, ep, etp, hsdp_shard, micro_batch, global_batch, accumulation;
  Maybe<bool> sp, compiled;
  std::string zero, recompute, schedule, precision;  // the source's words; empty: unknown
  std::string framework, master_dtype, reduce_dtype, reduce_every, attention_kernel, loss_kernel;
};

struct RowMeasured {
  Maybe<double> step_time_s, tokens_per_s_per_gpu, tflops_per_gpu, mfu, memory_gb;
};

struct Row {
  std::string id, source, notes, memory_unit;
  MaybeCount year;
  RowModel model;
  RowCluster cluster;
  RowLayout layout;
  RowMeasured measured;
  Maybe<double> hfu;
  bool oom = false;
  std::vector<std::string> ignored;  // keys that nobody reads
  std::string why_not;               // set where the row could not be read
};

// A list of rows, or an object whose "rows" is one. InputError where the file is neither.
std::vector<Row> read_rows(const JsonView& file);

}  // namespace tw::validate
