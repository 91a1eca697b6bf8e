#include "planner/validate/row.hpp"

#include <algorithm>
#include <cmath>

#include "topology/check.hpp"

namespace tw::validate {
namespace {

constexpr std::int64_t kMostCount = std::int64_t{1} << 30;

// One object of a row: reads keys by name and remembers which.
class Fields {
 public:
  Fields(const JsonView& node, Row& row) : node_(node), row_(row) {
    if (!node.is_object()) node.fail("must be an object");
  }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;
  ~Fields() {
    for (const std::string& key : node_.keys()) {
      if (std::find(read_.begin(), read_.end(), key) == read_.end()) row_.ignored.push_back(printable(key));
    }
  }

  std::optional<JsonView> take(std::string_view key) {
    read_.emplace_back(key);
    return node_.find(key);
  }
  void get(std::string_view key, std::string& out) {
    const auto found = take(key);
    if (found) out = found->is_integer() ? std::to_string(found->integer()) : found->string();
  }
  void get(std::string_view key, MaybeCount& out, std::int64_t low = 1) {
    const auto found = take(key);
    if (!found) return;
    const std::int64_t value = found->integer();
    if (value < low || value > kMostCount)
      found->fail("must be from " + std::to_string(low) + " to 1073741824");
    out = static_cast<std::int32_t>(value);
  }
  void get(std::string_view key, Maybe<double>& out) {
    const auto found = take(key);
    if (!found) return;
    const double value = found->number();
    if (!std::isfinite(value) || value <= 0) found->fail("must be above 0");
    out = value;
  }
  void get(std::string_view key, Maybe<bool>& out) {
    if (const auto found = take(key)) out = found->boolean();
  }

 private:
  const JsonView& node_;
  Row& row_;
  std::vector<std::string> read_;
};

void read_model(const JsonView& node, Row& row) {
  Fields f(node, row);
  RowModel& m = row.model;
  f.get("name", m.name);
  f.get("params_b", m.params_b);
  f.get("layers", m.layers), f.get("hidden", m.hidden), f.get("ffn_hidden", m.ffn_hidden);
  f.get("heads", m.heads), f.get("kv_heads", m.kv_heads), f.get("head_dim", m.head_dim);
  f.get("vocab", m.vocab), f.get("seq_len", m.seq_len);
  f.get("experts", m.experts, 0), f.get("topk", m.topk, 0), f.get("moe_ffn_hidden", m.moe_ffn_hidden, 0);
  f.get("shared_experts", m.shared_experts, 0);
  f.get("gated_mlp", m.gated_mlp), f.get("tied_embeddings", m.tied_embeddings);
}

void read_cluster(const JsonView& node, Row& row) {
  Fields f(node, row);
  f.get("gpu", row.cluster.gpu), f.get("name", row.cluster.name);
  f.get("gpus", row.cluster.gpus), f.get("gpus_per_node", row.cluster.gpus_per_node);
  f.get("inter_link_gbps_per_gpu", row.cluster.inter_link_gbps_per_gpu);
  f.take("intra_link");  // said by the GPU's own cluster
}

void read_layout(const JsonView& node, Row& row) {
  Fields f(node, row);
  RowLayout& l = row.layout;
  f.get("dp", l.dp), f.get("tp", l.tp), f.get("pp", l.pp), f.get("vpp", l.vpp), f.get("cp", l.cp);
  f.get("ep", l.ep), f.get("etp", l.etp), f.get("hsdp_shard", l.hsdp_shard);
  f.get("micro_batch", l.micro_batch), f.get("global_batch", l.global_batch);
  f.get("accumulation", l.accumulation);
  f.get("sp", l.sp), f.get("compiled", l.compiled);
  f.get("zero", l.zero), f.get("recompute", l.recompute), f.get("schedule", l.schedule);
  f.get("precision", l.precision), f.get("framework", l.framework);
  f.get("master_dtype", l.master_dtype), f.get("reduce_dtype", l.reduce_dtype);
  f.get("reduce_every", l.reduce_every), f.get("attention_kernel", l.attention_kernel);
  f.get("loss_kernel", l.loss_kernel);
}

void read_measured(const JsonView& node, Row& row) {
  Fields f(node, row);
  RowMeasured& m = row.measured;
  f.get("step_time_s", m.step_time_s), f.get("tokens_per_s_per_gpu", m.tokens_per_s_per_gpu);
  f.get("tflops_per_gpu", m.tflops_per_gpu), f.get("mfu", m.mfu), f.get("memory_gb", m.memory_gb);
}

void read_into(const JsonView& node, Row& row) {
  Fields f(node, row);
  f.get("id", row.id), f.get("source", row.source), f.get("notes", row.notes);
  f.get("memory_unit", row.memory_unit), f.get("year", row.year), f.get("hfu", row.hfu);
  Maybe<bool> oom;
  f.get("oom", oom);
  row.oom = oom.value_or(false);
  f.take("derived");
  struct Part {
    const char* key;
    void (*read)(const JsonView&, Row&);
  };
  for (const Part part : {Part{"model", read_model},
                          {"cluster", read_cluster},
                          {"layout", read_layout},
                          {"measured", read_measured}}) {
    if (const auto found = f.take(part.key)) part.read(*found, row);
  }
}

Row read_row(const JsonView& node, std::size_t index) {
  Row row;
  try {
    read_into(node, row);
  } catch (const InputError& error) {
    row.why_not = error.what();
  }
  if (row.id.empty()) row.id = "row " + std::to_string(index);
  if (row.source.empty()) row.source = "no source";
  return row;
}

}  // namespace

std::vector<Row> read_rows(const JsonView& file) {
  const auto inner = file.is_object() ? file.find("rows") : std::nullopt;
  const JsonView list = inner ? *inner : file;
  if (!list.is_array()) file.fail("must be a list of rows, or an object with the list \"rows\"");
  std::vector<Row> rows;
  for (std::size_t i = 0; i < list.size(); ++i) rows.push_back(read_row(list[i], i));
  return rows;
}

}  // namespace tw::validate
