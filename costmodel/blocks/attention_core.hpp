// The attention operator itself, shared by the mixer blocks: shapes of one rank, and how the sequence
// that cp cuts is brought together.
#pragma once

#include "costmodel/blocks/builder.hpp"

namespace tw {

// The attended context of q, k and v side by side in `qkv` (heads cut over tp).
TensorId attend(Builder& builder, const Attention& attention, std::int64_t kv_heads, TensorId qkv);
// q, k and v side by side in `qkv` (heads cut over tp): the attended context through the output
// projection; what is added to the residual stream.
TensorId attend_and_project(Builder& builder, const Attention& attention, std::int64_t kv_heads,
                            TensorId qkv);

// Attended (query, key) pairs of one head over a whole causal sequence, with an optional window:
// query i sees min(i+1, window) keys.
double causal_pairs(double seq, double window);
// The same where a sequence is packed from documents of this length that do not see each other.
double packed_pairs(double seq, double document, double window);

}  // namespace tw
