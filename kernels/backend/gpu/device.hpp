// One GPU of this process: memory, streams, events and graphs with owners, and what machine this is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device_ops.hpp"

struct CUevent_st;
struct CUgraphExec_st;

namespace tw::gpu {

struct DeviceFacts {
  std::string name, uuid, driver;            // driver: the CUDA version that it serves
  std::string runtime, cublas, cudnn, nccl;  // versions that run, not those compiled against
  std::int32_t sms = 0;
  std::int64_t l2_bytes = 0, memory_bytes = 0;
};

std::int32_t device_count();
void use_device(std::int32_t index);
DeviceFacts device_facts();
void synchronise();          // the whole device; throws what a kernel before it did wrong
std::int64_t free_memory();  // bytes
std::int64_t used_memory();  // of the GPU, by all programs

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  std::int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// Page-locked memory of the host.
class HostBuffer {
 public:
  explicit HostBuffer(std::int64_t bytes);
  ~HostBuffer();
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

class OwnedStream {
 public:
  explicit OwnedStream(bool urgent = false);  // urgent: its kernels are begun before others that wait
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  operator Stream() const { return stream_; }
  void wait() const;  // host waits for what was enqueued

 private:
  Stream stream_ = nullptr;
};

class Event {
 public:
  explicit Event(bool timed = true);  // not timed: for order alone, and cheaper
  ~Event();
  Event(Event&& other) noexcept;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Stream stream);
  void wait() const;               // host
  bool over() const;               // what was enqueued before it is done
  void hold(Stream stream) const;  // the stream waits
  double seconds_since(const Event& start) const;

 private:
  CUevent_st* event_ = nullptr;
};

// What was enqueued between construction and end(), to be replayed.
class Graph {
 public:
  explicit Graph(Stream stream);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void end();
  void replay(Stream stream) const;

 private:
  Stream captured_;
  CUgraphExec_st* graph_ = nullptr;
};

void to_device(const void* host, void* device, std::int64_t bytes, Stream stream);
void to_host(const void* device, void* host, std::int64_t bytes, Stream stream);
void on_device(const void* from, void* to, std::int64_t bytes, Stream stream);
void clear(void* device, std::int64_t bytes, Stream stream);
void fill_bytes(void* device, std::uint8_t byte, std::int64_t bytes, Stream stream);

}  // namespace tw::gpu
