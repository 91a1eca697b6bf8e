#include "kernels/backend/cpu/mpi.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "topology/check.hpp"

namespace tw::cpu {
namespace {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0, rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw std::runtime_error(std::string(call) + " on rank " + std::to_string(rank) + ": " + text);
}
#define MPI_CHECK(call) check((call), #call)

int narrow(std::int64_t value) {
  TW_CHECK(value >= 0 && value <= INT32_MAX);
  return static_cast<int>(value);
}

MPI_Datatype type_of(const double*) {
  return MPI_DOUBLE;
}
MPI_Datatype type_of(const float*) {
  return MPI_FLOAT;
}

// Counts of one member each, and where they begin.
struct Spread {
  std::vector<int> counts, offsets;
  explicit Spread(Sizes sizes) {
    int at = 0;
    for (const std::int64_t size : sizes) {
      counts.push_back(narrow(size)), offsets.push_back(at);
      at = narrow(std::int64_t{at} + size);
    }
  }
};

class MpiMessages final : public Messages {
 public:
  explicit MpiMessages(MPI_Comm world) : world_(world) {
    int rank = 0;
    MPI_CHECK(MPI_Comm_rank(world_, &rank));
    self_ = Rank(rank);
  }
  ~MpiMessages() override {
    for (auto& [ranks, comm] : comms_) MPI_Comm_free(&comm);
    if (world_ != MPI_COMM_WORLD) MPI_Comm_free(&world_);
  }
  Rank self() const override { return self_; }

  void all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) override {
    const int n = narrow(bytes);
    if (group.size() == 1) return copy(whole, piece, bytes);
    MPI_CHECK(MPI_Allgather(piece, n, MPI_BYTE, whole, n, MPI_BYTE, comm(group)));
  }
  void all_gather_v(Group group, const void* piece, Sizes bytes, void* whole) override {
    if (group.size() == 1) return copy(whole, piece, bytes[0]);
    const Spread in(bytes);
    MPI_CHECK(MPI_Allgatherv(piece, in.counts[index(group)], MPI_BYTE, whole, in.counts.data(),
                             in.offsets.data(), MPI_BYTE, comm(group)));
  }
  void all_to_all_v(Group group, const void* out, Sizes out_bytes, void* in, Sizes in_bytes) override {
    if (group.size() == 1) return copy(in, out, out_bytes[0]);
    const Spread from(out_bytes), to(in_bytes);
    MPI_CHECK(MPI_Alltoallv(out, from.counts.data(), from.offsets.data(), MPI_BYTE, in, to.counts.data(),
                            to.offsets.data(), MPI_BYTE, comm(group)));
  }
  void all_reduce(Group group, double* values, std::int64_t count) override { reduce(group, values, count); }
  void all_reduce(Group group, float* values, std::int64_t count) override { reduce(group, values, count); }
  void reduce_scatter(Group group, const double* whole, Sizes counts, double* piece) override {
    scatter(group, whole, counts, piece);
  }
  void reduce_scatter(Group group, const float* whole, Sizes counts, float* piece) override {
    scatter(group, whole, counts, piece);
  }

  void send(Rank to, std::int32_t tag, const void* data, std::int64_t bytes) override {
    forget_sent();
    const char* from = static_cast<const char*>(data);
    Sent& sent = sends_.emplace_back(Sent{{from, from + bytes}, MPI_REQUEST_NULL});
    MPI_CHECK(MPI_Isend(sent.data.data(), narrow(bytes), MPI_BYTE, to.value(), tag, world_, &sent.request));
  }
  void receive(Rank from, std::int32_t tag, void* data, std::int64_t bytes) override {
    MPI_CHECK(MPI_Recv(data, narrow(bytes), MPI_BYTE, from.value(), tag, world_, MPI_STATUS_IGNORE));
  }
  void finish_sends() override {
    for (Sent& sent : sends_) MPI_CHECK(MPI_Wait(&sent.request, MPI_STATUS_IGNORE));
    sends_.clear();
  }

 private:
  struct Sent {
    std::vector<char> data;
    MPI_Request request;
  };

  // What has left needs its copy no more.
  void forget_sent() {
    sends_.remove_if([](Sent& sent) {
      int done = 0;
      MPI_CHECK(MPI_Test(&sent.request, &done, MPI_STATUS_IGNORE));
      return done != 0;
    });
  }
  static void copy(void* to, const void* from, std::int64_t bytes) {
    if (bytes > 0 && to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  std::size_t index(Group group) const {
    const auto found = std::find(group.begin(), group.end(), self_);
    TW_CHECK(found != group.end());
    return static_cast<std::size_t>(found - group.begin());
  }
  template <class A>
  void reduce(Group group, A* values, std::int64_t count) {
    if (group.size() == 1) return;
    MPI_CHECK(MPI_Allreduce(MPI_IN_PLACE, values, narrow(count), type_of(values), MPI_SUM, comm(group)));
  }
  template <class A>
  void scatter(Group group, const A* whole, Sizes counts, A* piece) {
    if (group.size() == 1) return copy(piece, whole, counts[0] * static_cast<std::int64_t>(sizeof(A)));
    const Spread to(counts);
    MPI_CHECK(MPI_Reduce_scatter(whole, piece, to.counts.data(), type_of(whole), MPI_SUM, comm(group)));
  }
  MPI_Comm comm(Group group) {
    std::vector<int> ranks;
    for (const Rank rank : group) ranks.push_back(rank.value());
    const auto [found, made] = comms_.try_emplace(ranks, MPI_COMM_NULL);
    if (!made) return found->second;
    index(group);
    MPI_Group world, members;
    MPI_CHECK(MPI_Comm_group(world_, &world));
    MPI_CHECK(MPI_Group_incl(world, narrow(static_cast<std::int64_t>(ranks.size())), ranks.data(), &members));
    MPI_CHECK(MPI_Comm_create_group(world_, members, 0, &found->second));
    MPI_Group_free(&members), MPI_Group_free(&world);
    return found->second;
  }

  MPI_Comm world_;
  Rank self_;
  std::map<std::vector<int>, MPI_Comm> comms_;
  std::list<Sent> sends_;
};

// Of the ranks that share this one's memory, in the order of the launch.
MPI_Comm of_this_host() {
  MPI_Comm host = MPI_COMM_NULL;
  MPI_CHECK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  return host;
}

// Open MPI puts large messages over TCP in one piece each. What grants the next message of the other
// direction then waits behind such a piece on the same connection, and an exchange takes turns: 0.63 of the
// rate instead of 0.94, at random (two hosts at 200 Mbit/s, all-reduce of 192 KiB to 11 MiB). Sent in
// fragments it does not. And a message above the eager limit (64 KiB) goes only while its sender is in MPI:
// what one stage sends another must not wait for the sender's next message. Settings of the user's stand.
void let_messages_go() {
  setenv("OMPI_MCA_btl_tcp_flags", "send,inplace,need-ack,need-csum", 0);
  setenv("OMPI_MCA_btl_tcp_eager_limit", "4194304", 0);
}

}  // namespace

MpiProcess::MpiProcess(int& argc, char**& argv) {
  let_messages_go();
  MPI_CHECK(MPI_Init(&argc, &argv));
  MPI_CHECK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
}
MpiProcess::~MpiProcess() {
  MPI_Finalize();
}
Rank MpiProcess::rank() const {
  int rank = 0;
  MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
  return Rank(rank);
}
std::int32_t MpiProcess::size() const {
  int size = 1;
  MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &size));
  return size;
}
std::int32_t MpiProcess::hosts() const {
  MPI_Comm host = of_this_host();
  int rank = 0, hosts = 0;
  MPI_CHECK(MPI_Comm_rank(host, &rank));
  const int first = rank == 0 ? 1 : 0;
  MPI_CHECK(MPI_Allreduce(&first, &hosts, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
  MPI_Comm_free(&host);
  return hosts;
}
void MpiProcess::barrier() const {
  MPI_CHECK(MPI_Barrier(MPI_COMM_WORLD));
}
void MpiProcess::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::abort();
}

std::unique_ptr<Messages> mpi_messages(MpiScope scope) {
  return std::make_unique<MpiMessages>(scope == MpiScope::host ? of_this_host() : MPI_COMM_WORLD);
}

}  // namespace tw::cpu
