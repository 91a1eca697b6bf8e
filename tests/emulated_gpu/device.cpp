// A GPU in name: its memory is the host's, its streams do at once what they are given, and its peers speak
// over MPI. The engine of train/device runs on it as it is, so that all but the order of streams and the
// kernels themselves is tested where there is no GPU.
#include "kernels/backend/gpu/device.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

#include "kernels/backend/gpu/peers.hpp"
#include "kernels/backend/gpu/reservation.hpp"
#include "kernels/bf16.hpp"
#include "topology/check.hpp"

namespace tw::gpu {

std::int32_t device_count() {
  return 1;
}
void use_device(std::int32_t) {}
void synchronise() {}
std::int64_t free_memory() {
  return 0;
}
std::int64_t used_memory() {
  return 0;
}

HostBuffer::HostBuffer(std::int64_t bytes) : data_(std::calloc(static_cast<std::size_t>(bytes), 1)) {}
HostBuffer::~HostBuffer() {
  std::free(data_);
}

OwnedStream::OwnedStream(bool) {}
OwnedStream::~OwnedStream() = default;
void OwnedStream::wait() const {}
Event::Event(bool) {}
Event::~Event() = default;
Event::Event(Event&& other) noexcept : event_(other.event_) {}
void Event::record(Stream) {}
void Event::wait() const {}
bool Event::over() const {
  return true;
}
void Event::hold(Stream) const {}
double Event::seconds_since(const Event&) const {
  return 0;
}

void on_device(const void* from, void* to, std::int64_t bytes, Stream) {
  std::memmove(to, from, static_cast<std::size_t>(bytes));
}
void to_device(const void* host, void* device, std::int64_t bytes, Stream stream) {
  on_device(host, device, bytes, stream);
}
void to_host(const void* device, void* host, std::int64_t bytes, Stream stream) {
  on_device(device, host, bytes, stream);
}
void clear(void* device, std::int64_t bytes, Stream stream) {
  fill_bytes(device, 0, bytes, stream);
}
void fill_bytes(void* device, std::uint8_t byte, std::int64_t bytes, Stream) {
  std::memset(device, byte, static_cast<std::size_t>(bytes));
}

// Pages come when they are touched.
Reservation::Reservation(std::int64_t most_bytes) : most_(most_bytes) {
  void* at = mmap(nullptr, static_cast<std::size_t>(most_), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TW_CHECK(at != MAP_FAILED);
  base_ = static_cast<char*>(at);
}
Reservation::~Reservation() {
  munmap(base_, static_cast<std::size_t>(most_));
}
void Reservation::grow(std::int64_t bytes) {
  mapped_ = std::max(mapped_, bytes);
}

std::int64_t size_of(Number number) {
  return number == Number::bf16 ? 2 : number == Number::fp32 ? 4 : 8;
}

// Communicators of the same ranks are told apart by the order in which they were made.
Peers::Peers(Group group, Messages& messages) : group_(group.begin(), group.end()), messages_(messages) {
  static std::map<std::vector<Rank>, std::size_t> made;
  own_ = ++made[group_];
}
Peers::~Peers() = default;

// Through copies: MPI takes no piece in its place.
void Peers::all_gather(const void* piece, std::int64_t bytes, void* whole, Stream) const {
  const auto* from = static_cast<const char*>(piece);
  const std::vector<char> copy(from, from + bytes);
  messages_.all_gather(group_, copy.data(), bytes, whole);
}

namespace {

std::vector<float> widened(const void* in, std::int64_t count, Number number) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = number == Number::fp32 ? static_cast<const float*>(in)[i]
                                    : static_cast<float>(static_cast<const bf16*>(in)[i]);
  return out;
}

void narrowed(const std::vector<float>& in, void* out, Number number) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (number == Number::fp32)
      static_cast<float*>(out)[i] = in[i];
    else
      static_cast<bf16*>(out)[i] = static_cast<bf16>(in[i]);
  }
}

}  // namespace

void Peers::all_reduce(Values values, const void* in, void* out, Stream) const {
  if (values.number == Number::fp64) {
    std::memmove(out, in, static_cast<std::size_t>(values.count) * 8);
    return messages_.all_reduce(group_, static_cast<double*>(out), values.count);
  }
  std::vector<float> wide = widened(in, values.count, values.number);
  messages_.all_reduce(group_, wide.data(), values.count);
  narrowed(wide, out, values.number);
}

void Peers::reduce_scatter(Values values, const void* whole, void* piece, Stream stream) const {
  const std::vector<std::int64_t> counts(group_.size(), values.count);
  reduce_scatter_v(values.number, counts, whole, piece, stream);
}

void Peers::all_gather_v(const void* piece, Sizes bytes, void* whole, Stream) const {
  messages_.all_gather_v(group_, piece, bytes, whole);
}

void Peers::reduce_scatter_v(Number number, Sizes counts, const void* whole, void* piece, Stream) const {
  const auto own = std::find(group_.begin(), group_.end(), messages_.self()) - group_.begin();
  const std::vector<float> wide =
      widened(whole, std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), number);
  std::vector<float> part(static_cast<std::size_t>(counts[static_cast<std::size_t>(own)]));
  messages_.reduce_scatter(group_, wide.data(), counts, part.data());
  narrowed(part, piece, number);
}

void Peers::all_to_all(std::span<const Cut> cuts, Stream) const {
  for (const Cut& cut : cuts) messages_.all_to_all_v(group_, cut.out, cut.out_bytes, cut.in, cut.in_bytes);
}

namespace {
std::int32_t tag_of(std::size_t communicator) {
  return static_cast<std::int32_t>(communicator % 4096);
}
}  // namespace
void Peers::send(std::int32_t member, const void* data, std::int64_t bytes, Stream) const {
  messages_.send(group_[static_cast<std::size_t>(member)], tag_of(own_), data, bytes);
}
void Peers::receive(std::int32_t member, void* data, std::int64_t bytes, Stream) const {
  messages_.receive(group_[static_cast<std::size_t>(member)], tag_of(own_), data, bytes);
}

}  // namespace tw::gpu
