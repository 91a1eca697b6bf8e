// What the operations of a list read and write, for those who run them: values in single assignment,
// numbered over forward and backward of one layer. A price needs none of it and does not ask for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/blocks/small_list.hpp"
#include "costmodel/placement.hpp"
#include "costmodel/program/op.hpp"

namespace tw {

enum class Operator : std::uint8_t {
  norm,         // over the last features of each row
  head_norm,    // over each q and k head of packed [q | k | v] rows
  rotate,       // rotary positions on the q and k heads of packed rows
  linear,       // rows times a weight; of experts: each segment of rows times its own
  activation,   // gate times up (SwiGLU), times the probability of a routed row
  attention,    // reads packed rows; with a ring also the blocks of others
  ring,         // brings the K and V blocks of the other ranks
  ring_return,  // takes their gradients home
  add,
  sum,           // of two gradients of one value
  convert,       // a collective that changes a placement, or a slice
  spread_heads,  // all-to-all from cut tokens to cut heads of packed rows
  gather_heads,  // and of the context back
  embed,         // rows of a table cut by rows: a partial sum
  score,         // cross-entropy of cut logits: maximum, sum and target of each row
  merge_scores,  // over the ranks that hold other parts of the vocabulary
  choose,        // the experts of each token and their probabilities
  balance,       // tokens per expert of a sequence, summed over the ranks that share it
  permute,       // token rows in the order of experts
  dispatch,      // to the ranks of the experts
  sort,          // rows that came from several ranks, by expert
  unsort,
  combine,    // back to the ranks of the tokens
  unpermute,  // summed into token rows
  wait        // the host waits for the device
};
std::string_view name_of(Operator what);

// Which half of an operator an operation is. A linear's backward has two; others do all in `backward`.
enum class Half : std::uint8_t { forward, backward, input_gradient, weight_gradient };

// One array of a rank: rows x width elements. Routed rows are a mean; the run says how many.
struct Value {
  std::string_view name;
  double rows = 0;
  std::int64_t width = 0;
  std::int64_t element_bytes = 2;
  bool routed = false;
  bool gradient = false;
  double at_once =
      0;  // rows that a kernel makes and uses up before the next, all of them in the backward; 0: all
  std::int64_t bytes() const;
};

// Heads of packed rows on one rank.
struct HeadShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
};

struct Operands {
  Operator what = Operator::wait;
  Half half = Half::forward;
  SmallList<std::int16_t, 8> reads = {};  // values, in the order that the operator states
  SmallList<std::int16_t, 2> writes = {};
  std::int16_t weight = -1;  // of LayerWork::weights
  Conversion conversion = Conversion::none;
  Placement from = {}, to = {};  // of a conversion
  GroupKey group = {};           // of a conversion or an exchange
  HeadShape heads = {};          // of attention, rotate, head_norm and the head exchanges
};
using OperandList = std::vector<Operands>;

// Beside the lists of one LayerWork.
struct LayerOperands {
  OperandList forward, backward;  // parallel to its op lists
  std::vector<Value> values;
  std::int16_t input = -1, output = -1;                    // of the forward; -1: none (embedding)
  std::int16_t output_gradient = -1, input_gradient = -1;  // what the backward reads and writes
};

std::string to_string(const Operands& operands, const LayerOperands& layer);

}  // namespace tw
