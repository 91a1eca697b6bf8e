#include "kernels/backend/gpu/reservation.hpp"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>

#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

constexpr std::int64_t kStep = std::int64_t{2} << 20;  // what the driver maps at once, or a multiple of it

std::int64_t in_steps(std::int64_t bytes) {
  return (bytes + kStep - 1) / kStep * kStep;
}

// A program linked with libcuda does not start where there is no driver, so its functions are asked for.
template <class F>
F* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
  CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result));
  if (result != cudaDriverEntryPointSuccess) throw DeviceError(std::string("the driver has no ") + name);
  return reinterpret_cast<F*>(found);
}

void check_driver(CUresult code, const char* call) {
  if (code != CUDA_SUCCESS)
    throw DeviceError(std::string(call) + " failed with code " + std::to_string(static_cast<int>(code)));
}
#define DRIVER_CHECK(call) check_driver((call), #call)

std::string full(std::int64_t wanted) {
  constexpr double kGib = 1 << 30;
  std::size_t free = 0, all = 0;
  cudaMemGetInfo(&free, &all);
  char text[160];
  std::snprintf(text, sizeof text,
                "the GPU's memory is full: blocks of %.1f GiB in all are wanted, and it has %.1f GiB",
                static_cast<double>(wanted) / kGib, static_cast<double>(all) / kGib);
  return text;
}

CUmemAllocationProp own_memory() {
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUmemAllocationProp out{};
  out.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  out.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  out.location.id = device;
  return out;
}

}  // namespace

struct Reservation::Driver {
  decltype(&cuMemAddressReserve) reserve =
      driver_function<decltype(cuMemAddressReserve)>("cuMemAddressReserve");
  decltype(&cuMemAddressFree) give_up = driver_function<decltype(cuMemAddressFree)>("cuMemAddressFree");
  decltype(&cuMemCreate) create = driver_function<decltype(cuMemCreate)>("cuMemCreate");
  decltype(&cuMemRelease) release = driver_function<decltype(cuMemRelease)>("cuMemRelease");
  decltype(&cuMemMap) map = driver_function<decltype(cuMemMap)>("cuMemMap");
  decltype(&cuMemUnmap) unmap = driver_function<decltype(cuMemUnmap)>("cuMemUnmap");
  decltype(&cuMemSetAccess) allow = driver_function<decltype(cuMemSetAccess)>("cuMemSetAccess");

  static const Driver& of() {
    static const Driver functions;
    return functions;
  }
};

Reservation::Reservation(std::int64_t most_bytes) : most_(in_steps(most_bytes)) {
  CUDA_CHECK(cudaFree(nullptr));  // the context that the driver's functions work in
  CUdeviceptr at = 0;
  const auto reserve = Driver::of().reserve;
  DRIVER_CHECK(reserve(&at, static_cast<std::size_t>(most_), 0, 0, 0));
  base_ = reinterpret_cast<char*>(at);
}

Reservation::~Reservation() {
  const Driver& driver = Driver::of();
  const auto at = reinterpret_cast<CUdeviceptr>(base_);
  cudaDeviceSynchronize();
  for (const Part& part : parts_) {
    driver.unmap(at + static_cast<CUdeviceptr>(part.first), static_cast<std::size_t>(part.bytes));
    driver.release(part.handle);
  }
  driver.give_up(at, static_cast<std::size_t>(most_));
}

void Reservation::grow(std::int64_t bytes) {
  if (bytes <= mapped_) return;
  if (bytes > most_) throw DeviceError("more memory than was reserved");
  const Driver& driver = Driver::of();
  const std::int64_t more = in_steps(bytes - mapped_);
  const CUmemAllocationProp memory = own_memory();
  CUmemGenericAllocationHandle handle{};
  const CUresult made = driver.create(&handle, static_cast<std::size_t>(more), &memory, 0);
  if (made == CUDA_ERROR_OUT_OF_MEMORY) throw DeviceFull(full(bytes));
  check_driver(made, "cuMemCreate");
  const auto at = reinterpret_cast<CUdeviceptr>(base_ + mapped_);
  const auto map = driver.map;
  DRIVER_CHECK(map(at, static_cast<std::size_t>(more), 0, handle, 0));
  CUmemAccessDesc access{};
  access.location = memory.location, access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const auto allow = driver.allow;
  DRIVER_CHECK(allow(at, static_cast<std::size_t>(more), &access, 1));
  parts_.push_back({handle, mapped_, more});
  mapped_ += more;
}

}  // namespace tw::gpu
