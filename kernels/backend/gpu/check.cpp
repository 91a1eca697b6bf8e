#include "kernels/backend/gpu/check.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <nccl.h>

#include <string>

namespace tw::gpu {
namespace {

template <class Error = DeviceError>
[[noreturn]] void fail(const CallSite& site, const std::string& what) {
  throw Error(std::string(site.call) + " at " + site.file + ":" + std::to_string(site.line) + ": " + what);
}

}  // namespace

void check_cuda(int code, CallSite site) {
  if (code != cudaSuccess) fail(site, cudaGetErrorString(static_cast<cudaError_t>(code)));
}

void check_cublas(int code, CallSite site) {
  if (code == CUBLAS_STATUS_NOT_SUPPORTED) fail<DeviceRefusal>(site, "not supported");
  if (code != CUBLAS_STATUS_SUCCESS) fail(site, cublasGetStatusString(static_cast<cublasStatus_t>(code)));
}

void check_cudnn(int code, CallSite site) {
  if (code == CUDNN_STATUS_SUCCESS) return;
  char last[512] = "";
  constexpr int kFirstUnsupported = CUDNN_STATUS_NOT_SUPPORTED, kFamily = 1000;
  cudnnGetLastErrorString(last, sizeof last);
  const std::string what = std::string(cudnnGetErrorString(static_cast<cudnnStatus_t>(code))) + "; " + last;
  if (code / kFamily == kFirstUnsupported / kFamily) fail<DeviceRefusal>(site, what);
  fail(site, what);
}

void check_nccl(int code, CallSite site) {
  if (code != ncclSuccess)
    fail(site,
         std::string(ncclGetErrorString(static_cast<ncclResult_t>(code))) + "; " + ncclGetLastError(nullptr));
}

}  // namespace tw::gpu
