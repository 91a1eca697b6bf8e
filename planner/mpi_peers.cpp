#include "planner/mpi_peers.hpp"

#include <mpi.h>

namespace tw {
namespace {

void send(std::int32_t to, const SimPeers::Words& words) {
  MPI_Send(words.data(), static_cast<int>(words.size()), MPI_INT64_T, to, 0, MPI_COMM_WORLD);
}

std::optional<SimPeers::Note> receive(bool wait) {
  MPI_Status status;
  int there = 1;
  if (wait)
    MPI_Probe(MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &status);
  else
    MPI_Iprobe(MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &there, &status);
  if (there == 0) return std::nullopt;
  int count = 0;
  MPI_Get_count(&status, MPI_INT64_T, &count);
  SimPeers::Note note{status.MPI_SOURCE, SimPeers::Words(static_cast<std::size_t>(count))};
  MPI_Recv(note.words.data(), count, MPI_INT64_T, note.from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return note;
}

}  // namespace

MpiPeers::MpiPeers() {
  MPI_Init(nullptr, nullptr);
  MPI_Comm_rank(MPI_COMM_WORLD, &peers.self);
  MPI_Comm_size(MPI_COMM_WORLD, &peers.count);
  peers.send = send, peers.receive = receive;
}
MpiPeers::~MpiPeers() {
  MPI_Finalize();
}

}  // namespace tw
