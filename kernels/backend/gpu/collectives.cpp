#include "kernels/backend/gpu/collectives.hpp"

#include <mpi.h>
#include <nccl.h>

#include <set>
#include <vector>

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
      if (call.last_percent != 100) return uneven_all_to_all(call, in, out, stream);
      NCCL_CHECK(ncclAlltoAll(in, out, piece, ncclBfloat16, comm_, stream));
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

// To each rank but the last what the last leaves, in the order of the ranks.
void Communicator::uneven_all_to_all(const ExchangeCall& call, const void* in, void* out,
                                     Stream stream) const {
  const std::int64_t count = call.bytes / 2, last = count / ranks_ * call.last_percent / 100;
  const std::int64_t usual = (count - last) / (ranks_ - 1), mine = rank_ == ranks_ - 1 ? last : usual;
  NCCL_CHECK(ncclGroupStart());
  for (int i = 0; i < ranks_; ++i) {
    const auto sent = static_cast<std::size_t>(i == ranks_ - 1 ? last : usual);
    const char* from = static_cast<const char*>(in) + 2 * usual * i;
    NCCL_CHECK(ncclSend(from, sent, ncclBfloat16, i, comm_, stream));
    char* to = static_cast<char*>(out) + 2 * mine * i;
    NCCL_CHECK(ncclRecv(to, static_cast<std::size_t>(mine), ncclBfloat16, i, comm_, stream));
  }
  NCCL_CHECK(ncclGroupEnd());
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

std::int32_t different_of_ranks(const std::string& text) {
  if (alone()) return 1;
  int ranks = 0;
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
  std::size_t own = std::hash<std::string>()(text);
  std::vector<std::size_t> all(static_cast<std::size_t>(ranks));
  check_mpi(MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, MPI_COMM_WORLD));
  return static_cast<std::int32_t>(std::set<std::size_t>(all.begin(), all.end()).size());
}

void meet() {
  if (!alone()) check_mpi(MPI_Barrier(MPI_COMM_WORLD));
}

}  // namespace tw::gpu
