// The processes of one launch (mpirun or srun) as peers of a simulation.
#pragma once

#include <memory>

#include "costmodel/sim/peers.hpp"

namespace tw {

// MPI, as long as one of these lives; one per process.
class MpiPeers {
 public:
  MpiPeers();
  ~MpiPeers();
  MpiPeers(const MpiPeers&) = delete;
  MpiPeers& operator=(const MpiPeers&) = delete;
  SimPeers peers;
};

}  // namespace tw
