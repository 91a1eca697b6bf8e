// Clocks of the virtual backend over MPI. A communicator is made when a group first meets and kept.
#pragma once

#include "kernels/backend/virtual/virtual.hpp"

namespace tw {

// MPI must be initialised and outlive the transport.
ClockTransport mpi_clocks();

}  // namespace tw
