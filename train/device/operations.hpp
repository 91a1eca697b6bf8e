// Does what an operation of a Program says on the GPU of this rank. Everything is put on streams in the
// Program's order and nothing waits for the GPU, but where rows go to experts of other ranks: dropless
// routing decides on the GPU how many, and the sizes of messages are the host's, so the host waits once in
// each such layer's forward. Products read the numbers on the GPU.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "kernels/grouped_ops.hpp"
#include "kernels/ring_ops.hpp"
#include "kernels/routing_ops.hpp"
#include "train/device/seen.hpp"
#include "train/device/states.hpp"
#include "train/device/tensor.hpp"
#include "train/operators.hpp"

namespace tw::train {

struct DeviceCall {
  const Operands& io;
  const LayerWork& work;
  std::int32_t unit = 0, microbatch = 0;
  std::vector<DeviceHandle> reads, writes;
  bool last_reader = false;        // of reads[0], which may be written over
  const Operands* next = nullptr;  // the operation that follows at once, where there is one

  const Value& value(std::int16_t id) const { return work.operands.values[static_cast<std::size_t>(id)]; }
  bool backward() const { return io.half != Half::forward; }
};

// The way of a layer's routed rows for one micro-batch.
struct DeviceRoutes {
  Block counts, place;                       // as gpu::RouteOrder
  Block arrived_factors;                     // before those of others with a part of the same experts
  Block factors;                             // of the rows here
  Block factor_gradients;                    // on their way back
  Block group_rows;                          // `rows`, on the GPU
  Ticket ready;                              // of factors and of their gradients
  std::vector<std::int64_t> sent, received;  // rows to and from each rank of the experts
  std::vector<std::int64_t> arrived;         // rows as they came: by source, then by expert
  std::vector<std::int64_t> gathered;        // rows of each rank that holds a part of the same experts
  std::vector<std::int64_t> rows;            // of each expert here, once for each list that is not sorted
  std::vector<gpu::RowBlockMove> sorted;
  const std::int64_t* counted = nullptr;  // page-locked copy of counts
  gpu::Event there{false};                // when it is
  std::int64_t total() const;             // rows here
  void set_rows(const std::vector<std::int64_t>& segments, std::size_t local);
};

class DeviceOperations {
 public:
  DeviceOperations(const View& view, Context& gpu, const Settings& settings, const Data& data);

  void run(DeviceCall& call);
  // Norms of heads and their rotary positions, a sum and its norm, the backward of a norm and the sum with
  // another gradient, and experts' gate and up and their activation, are one kernel: the first is put off
  // until the second comes. Whatever else comes has it done first.
  bool put_off() const { return put_off_.has_value(); }
  bool joins(const DeviceCall& call) const { return put_off() && put_off_->next == &call.io; }
  void settle();
  void forget(std::int32_t unit, std::int32_t microbatch) {
    routes_.erase({unit, microbatch}), heads_.erase({unit, microbatch});
  }
  DeviceUnit& state(std::int32_t unit) { return states_[static_cast<std::size_t>(unit)]; }
  std::int64_t state_bytes() const;

  // Tokens of all micro-batches of the next step, read from the data while the GPU works.
  void fetch_tokens();
  void send_tokens();
  double* sums() const { return sums_.doubles(); }  // squares of gradients, loss of tokens, of balance
  const Settings& settings() const { return settings_; }
  const Data& data() const { return data_; }
  std::int64_t step = 0;

 private:
  template <class O, class C>
  friend void perform(O& does, C& call);
  struct Parameter {
    const void* value;
    GradientSum gradient;
    const FlatWeight* flat;
  };
  Parameter parameter(const DeviceCall& call);
  DeviceRoutes& routes(const DeviceCall& call) { return routes_[{call.unit, call.microbatch}]; }
  gpu::Stream compute() const { return gpu_.lanes.compute(); }
  DeviceHandle tensor(std::int64_t rows, std::int64_t width, gpu::Number number = gpu::Number::bf16);
  // For compute, behind whoever writes it.
  void* read(const DeviceHandle& value);
  // reads[0] itself where nobody reads it later, else a copy.
  DeviceHandle changeable(DeviceCall& call);
  // Work on the network lane that reads and writes these.
  Ticket on_network(std::initializer_list<Block*> blocks, const std::function<void(gpu::Stream)>& work);
  const gpu::Peers& peers(Group group) { return gpu_.peers(Lanes::kNetwork, group); }
  const std::int32_t* tokens(const DeviceCall& call, bool targets) const;
  const std::int32_t* sequences(std::int64_t rows) const;

  void run_now(DeviceCall& call) { perform(*this, call); }
  void join(DeviceCall& call);
  void norm_and_rope(DeviceCall& call);
  void add_and_norm(DeviceCall& call);
  void norm_backward_and_sum(DeviceCall& call);
  void norm(DeviceCall& call);
  void head_norm(DeviceCall& call);
  void rotate(DeviceCall& call);
  void linear(DeviceCall& call);
  void linear_of_experts(DeviceCall& call, const Parameter& w);
  gpu::GroupedRows grouped(DeviceRoutes& way, const DeviceTensor& x, std::int64_t weights);
  void experts_and_activation(DeviceCall& call);
  void activation(DeviceCall& call);
  void add(DeviceCall& call);
  void embed(DeviceCall& call);
  void score(DeviceCall& call);
  void merge_scores(DeviceCall& call);

  // Of one micro-batch, from its forward to its backward.
  struct ChunkedHead {
    DeviceHandle x, parts;
    Block gradient;                    // of the logits of a chunk
    std::int64_t first = 0, rows = 0;  // of that chunk
  };
  struct Rows {
    void* logits;
    float* parts;
  };
  static bool by_chunks(const DeviceCall& call, std::int16_t value) { return call.value(value).at_once > 0; }
  ChunkedHead& head(const DeviceCall& call);
  bool head_is_open(const DeviceCall& call) const { return heads_.contains({call.unit, call.microbatch}); }
  void open_head(DeviceCall& call, const Parameter& w);
  gpu::VocabularyPart vocabulary(const DeviceCall& call, std::int64_t rows, std::int64_t width);
  double loss_scale() const;
  void score_chunk(const DeviceCall& call, gpu::VocabularyPart part, const std::int32_t* targets, Rows at);
  void head_backward(DeviceCall& call, const Parameter& w);
  void weight_of_head(const DeviceCall& call, const ChunkedHead& own);
  void end_head(DeviceCall& call);

  void convert(DeviceCall& call);
  void convert_routed(DeviceCall& call);
  void gather_counts(DeviceRoutes& way, Group group);
  void gather_routed(DeviceCall& call, Group group);
  void reduce_routed(DeviceCall& call, Group group);
  void spread_heads(DeviceCall& call, bool to_heads);

  void attention(DeviceCall& call);
  void attention_forward(DeviceCall& call);
  void attention_backward(DeviceCall& call);
  gpu::AttentionCall attention_of(const DeviceCall& call, const DeviceTensor& rows) const;
  void fold_block(DeviceCall& call, std::int64_t hop, const DeviceHandle& partial, bool last);
  void block_backward(DeviceCall& call, std::int64_t hop, const DeviceHandle& own,
                      const DeviceHandle& foreign);
  gpu::FoldState state_in(const DeviceHandle& partial, const HeadShape& heads) const;
  void ring(DeviceCall& call);
  void ring_return(DeviceCall& call);
  Ticket return_block(const DeviceHandle& foreign, std::int64_t hop);
  void find_seen();

  gpu::RouterSize router(std::int64_t rows) const;
  gpu::RouterBalance balance_of(const DeviceHandle& fractions, std::int64_t rows) const;
  void choose(DeviceCall& call);
  void balance(DeviceCall& call);
  void permute(DeviceCall& call);
  void permute_forward(DeviceCall& call);
  void exchange_counts(DeviceRoutes& way, Group group);
  void count_here(DeviceRoutes& way);
  void dispatch(DeviceCall& call, bool to_experts);
  void sort(DeviceCall& call, bool to_experts);
  void unpermute(DeviceCall& call);

  const View& view_;
  Context& gpu_;
  Settings settings_;
  const Data& data_;
  std::vector<DeviceUnit> states_;
  std::optional<DeviceCall> put_off_;
  std::map<std::pair<std::int32_t, std::int32_t>, DeviceRoutes> routes_;
  std::map<std::pair<std::int32_t, std::int32_t>, ChunkedHead> heads_;  // by unit and micro-batch
  std::int64_t rows_ = 0, length_ = 0, sequences_count_ = 0;  // of a micro-batch: tokens, of each sequence
  Group ring_;                                                // whose blocks come around
  std::vector<Seen> seen_;                                    // of the block of each hop
  std::vector<std::int32_t> fetched_;
  gpu::HostBuffer host_tokens_;
  Block tokens_, sums_, cosines_, sines_, back_sines_, sequences_;
};

}  // namespace tw::train
