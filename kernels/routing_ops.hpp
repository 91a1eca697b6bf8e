// Launchers of the CUDA kernels of routed layers: the choice of experts, the order of routes by expert,
// and rows on their way. Rules as in kernels/device_ops.hpp; formulas as in kernels/cpu/router.hpp.
#pragma once

#include "kernels/device_ops.hpp"

namespace tw::gpu {

struct RouterSize {
  std::int64_t rows, experts, top_k;  // at most 1024 experts, 16 chosen
  bool renormalise;
};
struct RouterChoice {
  float* probabilities;   // [rows, experts]
  std::int32_t* experts;  // [rows, top_k]
  float* weights;         // [rows, top_k]
};
void router_forward(RouterSize size, const void* logits, const RouterChoice& choice, Stream stream);

// fractions: [sequences, experts], shares of the routes; slope: what the loss of a sequence adds to the
// gradient of a probability, over its fraction; 0: no balance, and nothing else is read.
struct RouterBalance {
  const float* fractions;
  float slope;
  const std::int32_t* sequences;  // [rows]
};
void router_backward(RouterSize size, const RouterChoice& choice, const float* dweights,
                     const RouterBalance& balance, void* dlogits, Stream stream);

// counts[sequence, expert] += routes.
void count_routes(RouterSize size, const std::int32_t* experts, const std::int32_t* sequences, float* counts,
                  Stream stream);
// counts become fractions: times `share`, and their mean over sequences where pooled.
struct FractionSize {
  std::int64_t sequences, experts;
  float share;
  bool pooled;
};
void to_fractions(FractionSize size, float* counts, Stream stream);
// *loss += slope * the sum over rows of probabilities times their sequence's fractions.
void add_balance_loss(RouterSize size, const float* probabilities, const RouterBalance& balance, double* loss,
                      Stream stream);

// Routes (row * top_k + choice) by expert, and by row within one. counts [experts] is written.
struct RouteOrder {
  std::int64_t* counts;
  std::int32_t* place;  // of each route: its sorted row
  float* factor;        // of each sorted row: the route's weight
};
void order_routes(RouterSize size, const RouterChoice& choice, const RouteOrder& order, Stream stream);

struct TokenSum {
  std::int64_t tokens, top_k, width;
};
// out[place[t * top_k + j]] = in[t]: tokens to all of their routes.
void spread_rows(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream stream);
// out[t] = the sum over j of in[place[t * top_k + j]], added up in fp32.
void sum_routes(TokenSum size, const std::int32_t* place, const void* in, void* out, Stream stream);
// out[i] = in[index[i]].
void gather_fp32(std::int64_t count, const std::int32_t* index, const float* in, float* out, Stream stream);

// Blocks of rows of `bytes` each (a multiple of 16) from one order into another; the array is the host's and
// free again after the call.
struct RowBlockMove {
  std::int64_t from, to, rows;
};
struct RowMoves {
  const RowBlockMove* at;
  std::int64_t count, bytes;
};
struct MovedRows {
  const void* in;
  void* out;
  const float* values_in = nullptr;  // one number per row goes the same way, where there are any
  float* values_out = nullptr;
};
void move_rows(const RowMoves& moves, const MovedRows& at, Stream stream);

// SwiGLU with a factor per row; dfactor [rows] is written.
struct RoutedSwiglu {
  std::int64_t rows, width;
};
void routed_swiglu_forward(RoutedSwiglu size, const void* gate_up, const float* factor, void* act,
                           Stream stream);
struct RoutedSwigluBackward {
  const void *gate_up, *dact;
  const float* factor;
  void* dgate_up;
  float* dfactor;
};
void routed_swiglu_backward(RoutedSwiglu size, const RoutedSwigluBackward& at, Stream stream);

}  // namespace tw::gpu
