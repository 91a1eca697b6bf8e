// Does what an operation of a Program says, on values of this rank: operators of kernels/cpu and
// messages between the ranks of the operation's group. T: type of stored elements.
#pragma once

#include <map>
#include <utility>

#include "kernels/backend/messages.hpp"
#include "train/operators.hpp"
#include "train/states.hpp"
#include "train/tensor.hpp"

namespace tw::train {

template <class T>
struct OpCall {
  const Operands& io;
  const LayerWork& work;
  std::int32_t unit = 0, microbatch = 0;
  std::vector<Handle<T>> reads, writes;

  const Value& value(std::int16_t id) const { return work.operands.values[static_cast<std::size_t>(id)]; }
  bool backward() const { return io.half != Half::forward; }
};

struct Losses {
  double tokens = 0;   // mean cross-entropy
  double balance = 0;  // auxiliary
  double total() const { return tokens + balance; }
};

template <class T>
class Operations {
 public:
  using Sum = cpu::Acc<T>;
  using Call = OpCall<T>;
  Operations(const View& view, Messages& messages, const Settings& settings, const Data& data);

  void run(Call& call) { perform(*this, call); }
  void forget(std::int32_t unit, std::int32_t microbatch) { routes_.erase({unit, microbatch}); }

  std::int64_t state_bytes() const;
  UnitState<T>& state(std::int32_t unit) { return states_[static_cast<std::size_t>(unit)]; }
  Messages& messages() { return messages_; }
  const View& view() const { return view_; }
  const Settings& settings() const { return settings_; }
  const Data& data() const { return data_; }
  Losses losses;          // this rank's part
  std::int64_t step = 0;  // of the whole run: which sequences are read

 protected:
  template <class O, class C>
  friend void perform(O& does, C& call);
  struct Parameter {
    const T* value;
    Sum* gradient;
    const FlatWeight* flat;
  };
  Parameter parameter(const Call& call);  // a weight of -1 is the tied table
  Routes<T>& routes(const Call& call) { return routes_[{call.unit, call.microbatch}]; }
  std::vector<std::int32_t> tokens(const Call& call, std::int32_t ahead) const {
    return view_.tokens(data_, step, call.microbatch, ahead);
  }

  void norm(Call& call);
  void head_norm(Call& call);
  void rotate(Call& call);
  void linear(Call& call);
  void activation(Call& call);
  void add(Call& call);
  void embed(Call& call);
  void score(Call& call);
  void merge_scores(Call& call);
  void finish_loss(const Call& call, const Tensor<T>& parts);

  void convert(Call& call);
  void slice(Call& call);
  void gather_rows(Call& call);
  void reduce_rows(Call& call);
  std::vector<std::int64_t> pieces(const Call& call, std::int64_t whole_rows);
  void sum_over(Group group, std::vector<T>& values);
  Handle<T> scatter_sum(Group group, const Tensor<T>& whole, const std::vector<std::int64_t>& rows);

  void attention(Call& call);
  struct Block {
    const View::Tags* tags;
    cpu::Rows<const T> keys, values;
    std::int64_t hop;  // 0: of this rank
  };
  std::vector<Block> blocks_for(const Call& call, const Tensor<T>& rows, const Tensor<T>* ring, bool first,
                                bool last) const;
  cpu::AttentionBlock<T> with(const Call& call, const Tensor<T>& rows, const Block& block) const;
  void attention_forward(Call& call);
  void attention_backward(Call& call);
  void ring(Call& call);
  void ring_return(Call& call);
  void spread_heads(Call& call, bool to_heads);

  void choose(Call& call);
  void balance(Call& call);
  void permute(Call& call);
  void permute_forward(Call& call);
  void dispatch(Call& call, bool to_experts);
  void arrive(const Call& call, Group group);
  void sort(Call& call, bool to_experts);
  void unpermute(Call& call);
  cpu::RouterShape router_shape(const Call& call, std::int64_t rows) const;
  cpu::LoadBalance<Sum> load_balance(const Tensor<T>& counts, std::int64_t rows) const;

  const View& view_;
  Messages& messages_;
  Settings settings_;
  const Data& data_;
  std::vector<UnitState<T>> states_;
  std::map<std::pair<std::int32_t, std::int32_t>, Routes<T>> routes_;
  View::Tags own_tags_, spread_tags_;  // of the rows that attention reads: own tokens, or all of a group's
  std::vector<View::Tags> ring_tags_;  // of the block that came in each hop
};

}  // namespace tw::train
