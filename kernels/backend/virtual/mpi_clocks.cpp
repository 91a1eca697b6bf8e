#include "kernels/backend/virtual/mpi_clocks.hpp"

#include <mpi.h>

#include <deque>
#include <map>
#include <memory>

namespace tw {
namespace {

class Clocks {
 public:
  Clocks() = default;
  Clocks(const Clocks&) = delete;
  Clocks& operator=(const Clocks&) = delete;
  ~Clocks() {
    for (Pending& pending : pending_) MPI_Wait(&pending.request, MPI_STATUS_IGNORE);
    for (auto& [ranks, communicator] : communicators_) MPI_Comm_free(&communicator);
  }

  void send(Rank to, bool backward, const ClockMessage& message) {
    Pending& pending = pending_.emplace_back();
    pending.message = message;
    MPI_Isend(&pending.message, sizeof pending.message, MPI_BYTE, to.value(), backward ? 1 : 0,
              MPI_COMM_WORLD, &pending.request);
  }
  static ClockMessage receive(Rank from, bool backward) {
    ClockMessage message;
    MPI_Recv(&message, sizeof message, MPI_BYTE, from.value(), backward ? 1 : 0, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return message;
  }
  double maximum(const std::vector<Rank>& group, double clock) {
    double most = 0;
    MPI_Allreduce(&clock, &most, 1, MPI_DOUBLE, MPI_MAX, communicator(group));
    return most;
  }

 private:
  struct Pending {
    ClockMessage message;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  MPI_Comm communicator(const std::vector<Rank>& group) {
    const auto found = communicators_.find(group);
    if (found != communicators_.end()) return found->second;
    std::vector<int> ranks;
    for (const Rank rank : group) ranks.push_back(rank.value());
    MPI_Group world = MPI_GROUP_NULL, members = MPI_GROUP_NULL;
    MPI_Comm made = MPI_COMM_NULL;
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, static_cast<int>(ranks.size()), ranks.data(), &members);
    MPI_Comm_create_group(MPI_COMM_WORLD, members, 0, &made);
    MPI_Group_free(&members);
    MPI_Group_free(&world);
    return communicators_.emplace(group, made).first->second;
  }

  std::deque<Pending> pending_;  // addresses stay
  std::map<std::vector<Rank>, MPI_Comm> communicators_;
};

}  // namespace

ClockTransport mpi_clocks() {
  const auto clocks = std::make_shared<Clocks>();
  return {[clocks](Rank to, bool backward, const ClockMessage& m) { clocks->send(to, backward, m); },
          [](Rank from, bool backward) { return Clocks::receive(from, backward); },
          [clocks](const std::vector<Rank>& group, double clock) { return clocks->maximum(group, clock); }};
}

}  // namespace tw
