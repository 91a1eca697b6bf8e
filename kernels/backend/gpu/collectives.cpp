#include "kernels/backend/gpu/collectives.hpp"

#include <mpi.h>
#include <nccl.h>

#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

void check_mpi(int code) {
  if (code != MPI_SUCCESS) throw DeviceError("a call of MPI failed with code " + std::to_string(code));
}

// Of one rank alone nothing needs to be initialised.
bool alone() {
  int initialised = 0;
  check_mpi(MPI_Initialized(&initialised));
  return initialised == 0;
}

}  // namespace

Communicator::Communicator(std::int32_t rank, std::int32_t ranks) : rank_(rank), ranks_(ranks) {
  ncclUniqueId id{};
  if (rank == 0) NCCL_CHECK(ncclGetUniqueId(&id));
  check_mpi(MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD));
  NCCL_CHECK(ncclCommInitRank(&comm_, ranks, id, rank));
}

Communicator::~Communicator() {
  ncclCommDestroy(comm_);
}

void Communicator::run(const ExchangeCall& call, const void* in, void* out, Stream stream) const {
  const auto count = static_cast<std::size_t>(call.bytes / 2),
             piece = count / static_cast<std::size_t>(ranks_);
  const bool first = rank_ == 0, last = rank_ == ranks_ - 1, both = call.kind == Exchange::send_both;
  switch (call.kind) {
    case Exchange::all_reduce:
      NCCL_CHECK(ncclAllReduce(in, out, count, ncclBfloat16, ncclSum, comm_, stream));
      return;
    case Exchange::all_gather:
      NCCL_CHECK(ncclAllGather(in, out, piece, ncclBfloat16, comm_, stream));
      return;
    case Exchange::reduce_scatter:
      NCCL_CHECK(ncclReduceScatter(in, out, piece, ncclBfloat16, ncclSum, comm_, stream));
      return;
    case Exchange::all_to_all:
      NCCL_CHECK(ncclGroupStart());
      for (int i = 0; i < ranks_; ++i) {
        const std::size_t at = static_cast<std::size_t>(i) * piece * 2;
        NCCL_CHECK(ncclSend(static_cast<const char*>(in) + at, piece, ncclBfloat16, i, comm_, stream));
        NCCL_CHECK(ncclRecv(static_cast<char*>(out) + at, piece, ncclBfloat16, i, comm_, stream));
      }
      NCCL_CHECK(ncclGroupEnd());
      return;
    case Exchange::send:
    case Exchange::send_both:
      if (!first && !last) return;
      NCCL_CHECK(ncclGroupStart());
      if (first || both) NCCL_CHECK(ncclSend(in, count, ncclBfloat16, first ? ranks_ - 1 : 0, comm_, stream));
      if (last || both) NCCL_CHECK(ncclRecv(out, count, ncclBfloat16, first ? ranks_ - 1 : 0, comm_, stream));
      NCCL_CHECK(ncclGroupEnd());
      return;
  }
}

double largest_of_ranks(double value) {
  if (alone()) return value;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
  return value;
}

double of_first_rank(double value) {
  if (alone()) return value;
  check_mpi(MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD));
  return value;
}

std::string text_of_first_rank(std::string text) {
  if (alone()) return text;
  auto length = static_cast<int>(of_first_rank(static_cast<double>(text.size())));
  text.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(text.data(), length, MPI_CHAR, 0, MPI_COMM_WORLD));
  return text;
}

void meet() {
  if (!alone()) check_mpi(MPI_Barrier(MPI_COMM_WORLD));
}

}  // namespace tw::gpu
