// StateCost: parameter gathers, gradient reductions, the optimizer and the bytes of parameters,
// gradients and moments of each layer, by ZeRO stage and shard group (Rajbhandari et al. 2020,
// arXiv 1910.02054; HSDP: Zhao et al. 2023, arXiv 2304.11277). The second cached link.
#pragma once

#include <vector>

#include "costmodel/pass.hpp"

namespace tw {

// A layer kind, the embedding or the head with its states.
struct KindState {
  LayerTime f, b;                 // with the state traffic of every micro-batch (ZeRO-3)
  double first_extra = 0;         // more on the forward of the first micro-batch (parameter gathers)
  double last_extra = 0;          // more on the backward of the last one (gradient reduction)
  double gather = 0, reduce = 0;  // seconds of the collectives alone
  double copies_f = 0, copies_b = 0;  // of `f` and `b`: copies between flat buffers on the compute stream
  double optimizer = 0;           // seconds
  std::int64_t parameters = 0, gradients = 0, moments = 0;  // bytes kept all step long
  std::int64_t owned = 0;     // bytes of this rank's part of the gradients, as they are summed between ranks
  std::int64_t gathered = 0;  // bytes of the whole parameters while they are gathered (ZeRO-3)
  // Bytes of whole gradients where they are kept cut: beside the temporaries of a backward (its own, or of
  // the unit before on their way), and of its own when it ends.
  std::int64_t whole_gradient = 0, made_gradient = 0;
};

struct StateCost {
  std::vector<KindState> kinds;
  KindState embedding, head;
  KindState mtp_entry, mtp_head;  // of multi-token prediction; its head reads the weights of the first
  KindState tied_head;      // of a head that reads the table of an embedding on another stage: holds a copy
  double tied_reduce = 0;   // seconds to sum the gradients of the two copies (Megatron's embedding group)
  PricedOp gather, reduce;  // of the first kind of layer: their curve, spread and source
  double tp_reduce = 0;     // seconds to sum, over tp, gradients of weights read on cut tokens, once a step
  bool gathers_every = false;  // every micro-batch, forward and backward
  bool reduces_every = false;
  GroupLinks hop;                  // between stages, where there are some
  double send = 0;                 // seconds to hand one micro-batch to the next stage (dp gives pp)
  std::int64_t communicators = 0;  // bytes
  bool priced = false;             // as its pass was: else only the bytes are filled
};

// Priced where its pass is, unless bytes alone are asked for.
StateCost state_cost(const PassCost& pass, const Layout& layout, const Job& job, const Machine& machine,
                     bool priced = true);

}  // namespace tw
