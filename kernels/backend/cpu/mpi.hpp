// Messages over MPI. A communicator is made when a group is first used and kept: every member comes by
// in the same order, as it must for the collective itself.
#pragma once

#include <memory>

#include "kernels/backend/messages.hpp"

namespace tw::cpu {

// MPI is initialised while one of these lives; one per process.
class MpiProcess {
 public:
  MpiProcess(int& argc, char**& argv);
  ~MpiProcess();
  MpiProcess(const MpiProcess&) = delete;
  MpiProcess& operator=(const MpiProcess&) = delete;
  Rank rank() const;
  std::int32_t size() const;
  void barrier() const;
  // Ends all ranks: where one fails the others would wait for ever.
  [[noreturn]] static void abort(int code);
};

// Freed, with its communicators, before the process.
std::unique_ptr<Messages> mpi_messages();

}  // namespace tw::cpu
