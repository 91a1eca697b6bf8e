// NCCL among the ranks of an MPI launch, one GPU each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/device_ops.hpp"

struct ncclComm;

namespace tw::gpu {

enum class Exchange : std::uint8_t { all_reduce, all_gather, reduce_scatter, all_to_all, send, send_both };

// bytes: the whole buffer. all_gather: its output; reduce_scatter, all_reduce: its input; all_to_all: what
// one rank holds; send: the message, from the first rank to the last; send_both: the same in both directions.
// last_percent: of an all_to_all, what the last rank gets over the mean; the others share the rest alike, and
// the last rank's `out` must hold that much.
struct ExchangeCall {
  Exchange kind = Exchange::all_reduce;
  std::int64_t bytes = 0;
  std::int64_t last_percent = 100;
};

class Communicator {
 public:
  // Collective over all ranks of MPI_COMM_WORLD.
  Communicator(std::int32_t rank, std::int32_t ranks);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  // Elements are bf16. in and out may each hold `bytes`; all_reduce works from in to out.
  void run(const ExchangeCall& call, const void* in, void* out, Stream stream) const;

 private:
  void uneven_all_to_all(const ExchangeCall& call, const void* in, void* out, Stream stream) const;
  ncclComm* comm_ = nullptr;
  std::int32_t rank_, ranks_;
};

// The largest value of all ranks, or the first rank's.
double largest_of_ranks(double value);
double of_first_rank(double value);
std::string text_of_first_rank(std::string text);
// How many different texts the ranks have.
std::int32_t different_of_ranks(const std::string& text);
void meet();  // MPI_Barrier

}  // namespace tw::gpu
