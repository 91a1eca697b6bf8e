#include "kernels/backend/gpu/device.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <nccl.h>

#include <array>
#include <utility>

#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

std::string dotted(std::int64_t major, std::int64_t minor, std::int64_t patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

std::string hex_of(const cudaUUID_t& id) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : id.bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4], text += kDigits[byte & 15];
  }
  return text;
}

// CUDA writes 13.2 as 13020.
std::string cuda_version(int v) {
  return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10);
}

}  // namespace

std::int32_t device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void use_device(std::int32_t index) {
  CUDA_CHECK(cudaSetDevice(index));
}

DeviceFacts device_facts() {
  int index = 0, driver = 0, runtime = 0, nccl = 0;
  CUDA_CHECK(cudaGetDevice(&index));
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  NCCL_CHECK(ncclGetVersion(&nccl));
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  const auto lt = static_cast<std::int64_t>(cublasLtGetVersion()),
             dnn = static_cast<std::int64_t>(cudnnGetVersion());
  DeviceFacts facts;
  facts.name = properties.name, facts.uuid = hex_of(properties.uuid);
  facts.driver = cuda_version(driver), facts.runtime = cuda_version(runtime);
  facts.cublas = dotted(lt / 10000, lt / 100 % 100, lt % 100);
  facts.cudnn = dotted(dnn / 10000, dnn / 100 % 100, dnn % 100);
  facts.nccl = dotted(nccl / 10000, nccl / 100 % 100, nccl % 100);
  facts.sms = properties.multiProcessorCount;
  facts.l2_bytes = properties.l2CacheSize,
  facts.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  return facts;
}

void synchronise() {
  CUDA_CHECK(cudaDeviceSynchronize());
}

std::int64_t free_memory() {
  std::size_t free = 0, all = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &all));
  return static_cast<std::int64_t>(free);
}

std::int64_t used_memory() {
  std::size_t free = 0, all = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &all));
  return static_cast<std::int64_t>(all - free);
}

Buffer::Buffer(std::int64_t bytes) : bytes_(bytes) {
  CUDA_CHECK(cudaMalloc(&data_, static_cast<std::size_t>(bytes)));
}
Buffer::~Buffer() {
  cudaFree(data_);
}
Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_), std::swap(bytes_, other.bytes_);
  return *this;
}

HostBuffer::HostBuffer(std::int64_t bytes) {
  CUDA_CHECK(cudaMallocHost(&data_, static_cast<std::size_t>(bytes)));
}
HostBuffer::~HostBuffer() {
  cudaFreeHost(data_);
}

OwnedStream::OwnedStream(bool urgent) {
  int least = 0, most = 0;
  CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &most));
  CUDA_CHECK(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, urgent ? most : least));
}
OwnedStream::~OwnedStream() {
  cudaStreamDestroy(stream_);
}
void OwnedStream::wait() const {
  CUDA_CHECK(cudaStreamSynchronize(stream_));
}

Event::Event(bool timed) {
  CUDA_CHECK(cudaEventCreateWithFlags(&event_, timed ? cudaEventDefault : cudaEventDisableTiming));
}
Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}
Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
void Event::record(Stream stream) {
  CUDA_CHECK(cudaEventRecord(event_, stream));
}
void Event::wait() const {
  CUDA_CHECK(cudaEventSynchronize(event_));
}
bool Event::over() const {
  const cudaError_t state = cudaEventQuery(event_);
  if (state == cudaErrorNotReady) return false;
  CUDA_CHECK(state);
  return true;
}
void Event::hold(Stream stream) const {
  CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0));
}
double Event::seconds_since(const Event& start) const {
  float milliseconds = 0;
  CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.event_, event_));
  return static_cast<double>(milliseconds) * 1e-3;
}

Graph::Graph(Stream stream) : captured_(stream) {
  CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}
Graph::~Graph() {
  if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
}
void Graph::end() {
  cudaGraph_t recorded = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(captured_, &recorded));
  CUDA_CHECK(cudaGraphInstantiate(&graph_, recorded, 0));
  CUDA_CHECK(cudaGraphDestroy(recorded));
}
void Graph::replay(Stream stream) const {
  CUDA_CHECK(cudaGraphLaunch(graph_, stream));
}

void to_device(const void* host, void* device, std::int64_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemcpyAsync(device, host, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream));
}
void to_host(const void* device, void* host, std::int64_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemcpyAsync(host, device, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream));
}
void on_device(const void* from, void* to, std::int64_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice, stream));
}
void clear(void* device, std::int64_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemsetAsync(device, 0, static_cast<std::size_t>(bytes), stream));
}
void fill_bytes(void* device, std::uint8_t byte, std::int64_t bytes, Stream stream) {
  CUDA_CHECK(cudaMemsetAsync(device, byte, static_cast<std::size_t>(bytes), stream));
}

}  // namespace tw::gpu
