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
  std::int32_t hosts() const;  // that the ranks of the launch are on; every rank must ask
  void barrier() const;
  // Ends all ranks: where one fails the others would wait for ever.
  [[noreturn]] static void abort(int code);
};

// Whose ranks messages know: all of the launch, or those of this rank's host, counted from 0.
enum class MpiScope : std::uint8_t { launch, host };
// Freed, with its communicators, before the process.
std::unique_ptr<Messages> mpi_messages(MpiScope scope = MpiScope::launch);

}  // namespace tw::cpu
