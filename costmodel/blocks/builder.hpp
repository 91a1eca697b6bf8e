// Records a layer's operators on a tape while they are emitted forward, then walks the tape backward:
// each operator's gradient ops, the transposed conversions of placement.hpp, recomputation, and the
// bytes that must be kept follow by rule, not per block.
#pragma once

#include <string_view>
#include <vector>

#include "costmodel/blocks/small_list.hpp"
#include "costmodel/placement.hpp"
#include "costmodel/program/operands.hpp"
#include "costmodel/program/work.hpp"

namespace tw {

struct TensorId {
  std::int32_t index = -1;
};
using Tensors = SmallList<TensorId, 6>;
using Widths = SmallList<std::int64_t, 3>;
using OpRefs = SmallList<std::int16_t, 16>;  // indices into an op list

// rows x width elements of the whole tp group (etp group for expert tensors); the placement says
// which part a rank holds.
struct TensorSpec {
  std::string_view name;
  double rows = 0;  // tokens, or routed rows
  std::int64_t width = 0;
  Placement place;
  std::int64_t element_bytes = 2;
  Scope scope = Scope::attention;
  bool routed = false;  // rows are a mean: the run decides
  double at_once = 0;   // rows of it that are there together, in its gradient alone; 0: all
};

enum class Split : std::uint8_t { column, row, replicated };  // of a weight over tp (etp)

struct LinearSpec {
  std::string_view name;
  std::int64_t out = 0;          // output features of the whole group
  std::int64_t counted_out = 0;  // features that are distinct parameters (replicated KV heads); 0: out
  Split split = Split::column;
  AxisName axis = AxisName::ffn;  // of the cut features
  bool bias = false;
  Module module = Module::other;
  Term term = Term::gemm;
  bool low_precision = true;
  std::int64_t groups = 0;  // experts of the whole model: a grouped GEMM over the local ones
  std::int64_t groups_local = 0;
  bool tied = false;       // uses another weight: declares none
  double at_once = 0;      // rows that the products and what follows take at a time; 0: all
  bool frozen = false;     // no weight gradient, and nothing kept for it
  bool adapter = false;    // trained beside a frozen linear, in the job's format of adapters
  std::int64_t depth = 0;  // input features that each of `parts` reads; 0: all
  // Widths of the projections of one input that make up `out`: one GEMM each where a framework does
  // not merge them.
  Widths parts = {};
  std::int64_t stacked = 1;  // equal blocks of rows, each cut by itself, where no parts are named
};

// A memory-bound operator: passes count whole reads or writes of its tensors per direction.
struct PointwiseSpec {
  std::string_view name;
  Operator what = Operator::norm;
  TensorSpec out;
  double forward_bytes = 0, backward_bytes = 0;  // per rank
  double forward_flops = 0, backward_flops = 0;  // of a scan; 0: memory alone
  bool keeps_input = false;
  bool keeps_output = false;
  bool moves_rows = false;  // only reorders: the gradient passes in the placement it has, partial sums too
  Module module = Module::other;
  Term term = Term::elementwise;
  std::int16_t launches = 1;
  std::int16_t backward_launches = 0;  // 0: as many
  bool routes = false;          // a third of a routed layer's code on the host: router, dispatch or combine
  std::int64_t kept_bytes = 0;  // beside the tensors it keeps: masks, copies in fp32
  std::int16_t weight = -1;     // index among the layer's weights
  HeadShape heads = {};
};

// An operator that is a collective of its own. A summary hands its gradient through as it is.
struct ExchangeSpec {
  std::string_view name;
  Operator what = Operator::dispatch;
  TensorSpec out;
  Work work;
  Term term = Term::ep;
  bool summary = false;
  HeadShape heads = {};
};

struct AttentionSpec {
  std::string_view name;
  AttentionShape shape;  // of one rank, one ring step when ring_hops > 0
  TensorSpec out;
  std::int32_t ring_hops = 0;  // further steps, each under one hop of K and V
  Bytes hop;                   // forward; the backward also carries their gradients
  Bytes statistics;            // kept beside q, k, v and the output
};

class Builder {
 public:
  explicit Builder(const EmitInput& input);

  const EmitInput& input() const { return input_; }
  const Model& model() const { return *input_.model; }
  const KernelMechanisms& kernels() const { return input_.profile->kernels; }
  double tokens() const { return tokens_; }  // of a micro-batch on one rank of cp
  Placement residual() const;                // of the residual stream: cut over seq with sp
  std::int64_t local_bytes(TensorId id) const;

  TensorId source(const TensorSpec& spec);  // comes from outside the layer
  // Over the last `width` features (0: all of x).
  TensorId norm(std::string_view name, TensorId x, Module module = Module::norm, std::int64_t width = 0);
  TensorId linear(const LinearSpec& spec, TensorId x);
  TensorId pointwise(const PointwiseSpec& spec, const Tensors& inputs);
  TensorId attention(const AttentionSpec& spec, const Tensors& qkv);
  TensorId require(TensorId x, Placement need);
  TensorId exchange(const ExchangeSpec& spec, TensorId x);
  TensorId add(TensorId residual, TensorId x, bool dropout = false);
  // An operator that brings its own kernels, such as a loss in chunks; its input's gradient is last.
  TensorId kernels_of(std::string_view name, TensorId x, const TensorSpec& out, OpList forward,
                      OpList backward);
  std::int16_t weight(Weight weight) {
    weight.frozen = weight.frozen || adapts(input_.training);
    return declare(weight);
  }
  void host_sync(std::string_view name, std::int32_t times = 1);
  // Tokens per expert of each sequence, summed over the ranks that share it: nothing waits for it but the
  // backward of `choice`, and the closed form prices it as nothing.
  void balance(TensorId choice);
  void enter(Module module) { module_ = module; }  // of the operators that name none

  // Walks the tape backward from `output` and hands the work over.
  LayerWork finish(TensorId output);

 private:
  enum class Kind : std::uint8_t { source, pointwise, linear, attention, conversion, exchange, add, listed };
  // Ops that must be done before a reader starts, and one that must be done before the reader ends
  // (the rest of a collective that is cut up and runs under its GEMM).
  struct Ready {
    OpRefs before;
    std::int16_t during = -1;
    std::int16_t value = -1;  // where it lies, if operands are asked for
  };
  // Of the operations of one attention: with a ring four, else the last alone.
  struct AttentionValues {
    Operands ring, others, last, home;
    std::int16_t made = -1;
  };
  struct Gradient {
    Ready ready;
    Placement place;
    bool exists = false;
  };
  struct Tensor {
    TensorSpec spec;
    std::int32_t producer = -1;
    Ready ready;
    Gradient gradient;
    std::int16_t value = -1;              // of the forward
    std::int16_t beside = -1;             // a second value: statistics of attention, balance of a choice
    bool kept = false, kept_low = false;  // as it is, and as the copy that a low-precision GEMM made
  };
  struct Node {
    Kind kind = Kind::source;
    Module module = Module::other;
    std::string_view name;
    Tensors inputs;
    TensorId output;
    Tensors needs;  // tensors its backward reads
    LinearSpec linear;
    std::int16_t weight = -1;
    PointwiseSpec pointwise;
    AttentionSpec attention;
    ExchangeSpec exchange;
    Term term = Term::elementwise;
    Conversion conversion = Conversion::none;
    bool recomputed = false;
    double saved = 0;  // part of a recomputed linear's output that is not made again
    bool replayed = false;
    std::int16_t listed = -1;  // index of its own kernels
  };
  struct Listed {
    OpList forward, backward;
  };

  Tensor& at(TensorId id) { return tensors_[static_cast<std::size_t>(id.index)]; }
  const Tensor& at(TensorId id) const { return tensors_[static_cast<std::size_t>(id.index)]; }
  const Node* producer_of(TensorId id) const;
  std::int32_t ranks(Scope scope) const;
  GroupKey group(Scope scope) const;
  double local_rows(const TensorSpec& spec) const;
  std::int64_t local_width(const TensorSpec& spec) const;
  std::int64_t bytes_of(const TensorSpec& spec) const;
  Bytes whole_bytes(const TensorSpec& spec) const;

  TensorId record(Node node, const TensorSpec& out);
  std::int16_t push(OpList& list, Op op, const OpRefs& after, const Operands& operands);
  Ready convert(OpList& list, const TensorSpec& spec, Placement to, Conversion conversion, const Ready& after,
                Term term);
  std::int16_t new_value(const TensorSpec& spec, bool gradient = false);
  std::int16_t new_bytes(std::string_view name, std::int64_t bytes, bool gradient = false);
  std::int16_t free_op(OpList& list, std::string_view name, Stream stream, const Operands& operands,
                       Term term = Term::elementwise);
  std::int16_t value_of(TensorId id) const { return at(id).ready.value; }
  std::int16_t read_again(TensorId id);
  SmallList<RowBlock, 3> row_blocks(const LinearSpec& spec, std::int64_t counted) const;
  std::int16_t declare(const Weight& weight) {
    work_.weights.push_back(weight);
    return static_cast<std::int16_t>(work_.weights.size() - 1);
  }
  TensorId plain_linear(const LinearSpec& spec, TensorId x);
  TensorId cast_for(const LinearSpec& spec, TensorId x);
  TensorId adapted_linear(const LinearSpec& spec, TensorId x);
  Ready listed_ops(const OpList& ops, OpList& list, const OpRefs& after, const Operands& operands);
  Op linear_op(const Node& node, GemmPass pass, std::int64_t width) const;
  Widths gemm_widths(const LinearSpec& spec) const;
  bool gate_apart(const LinearSpec& spec) const;
  std::int16_t linear_ops(const Node& node, GemmPass pass, OpList& list, const OpRefs& after,
                          Operands operands);
  Ready attention_ops(const Node& node, OpList& list, const Ready& after, bool backward, Term term);
  AttentionValues attention_values(const Node& node, std::int16_t gradient, bool backward);
  Operands forward_operands(const Node& node);
  Operands backward_operands(const Node& node, std::int16_t gradient);
  bool is_gradient(std::int16_t value) const;

  Ready forward_ops(const Node& node, OpList& list, bool replay);
  void backward_ops(Node& node);
  void dropout_backward(const Node& node, const OpRefs& before);
  void reduce_each_part(const Node& node, std::int16_t made);
  void linear_backward(const Node& node, const Ready& gradient);
  Ready gradient_for(const Node& node);
  void hand_gradient(TensorId to, Ready ready, Placement place);
  Ready regather(const Node& node);
  void replay_for(const Node& reader);
  void replay(std::int32_t index);
  void make_ready(TensorId id);
  Module checkpoint(Module module) const;
  TensorId stored(TensorId id) const;

  bool module_recomputed(Module module) const;
  bool discards_output(Module module) const;
  void mark_recomputed();
  void mark_by_operator();
  void mark_early_stop();
  bool whole_layer() const;
  void keep(TensorId id, bool low = false);
  bool keeps_low(const Node& node) const;
  std::int64_t low_bytes(const TensorSpec& spec) const;
  bool gathers_low(OpList& list, const Node& node, const Ready& ready, bool gradient);
  void share_cast(OpList& list, std::size_t from, const Node& node, bool gathered, bool shared);
  void mark_kept();
  void measure();
  void measure_deferred();

  EmitInput input_;
  double tokens_;
  Module module_ = Module::other;
  std::vector<Tensor> tensors_;
  std::vector<Node> nodes_;
  std::vector<Listed> listed_;
  LayerWork work_;
};

}  // namespace tw
