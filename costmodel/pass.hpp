// PassCost: one layer of each kind, the embedding and the head under one PassKey, emitted, priced and
// resolved without state traffic. The first cached link of a layout's price.
#pragma once

#include <vector>

#include "costmodel/price.hpp"
#include "costmodel/resolve.hpp"

namespace tw {

// Elements of trained weights on one rank, by how they are replicated, and of frozen ones beside them.
struct LocalWeights {
  std::int64_t attention = 0;  // replicated over dp x cp
  std::int64_t expert = 0;     // replicated over edp
  std::int64_t frozen_attention = 0, frozen_expert = 0;
  std::int64_t sequence_partial = 0;  // of `attention`: gradients also summed over tp
};

struct KindPass {
  PricedList forward, backward;
  LayerTime f, b;      // forward; whole backward
  LayerTime input, w;  // the backward in two halves: input gradients, weight gradients
  LocalWeights weights;
  std::int64_t kept = 0, deferred = 0, recomputed = 0, widest = 0;  // bytes, see LayerWork
};

// That expert dispatch keeps the busier of its links in a forward and a backward of one layer.
double dispatch_seconds(const KindPass& pass);

struct PassCost {
  PassLinks links;
  std::vector<KindPass> kinds;  // in the order of Model::kinds
  KindPass embedding, head, mtp_entry;
  bool priced = false;
};

// Memory before time: unpriced, a pass knows its bytes; most passes of a search never fit and are
// never priced.
PassCost unpriced_pass(EmitInput input);
void price_pass(PassCost& pass, const EmitInput& input, Pricer& pricer);

}  // namespace tw
