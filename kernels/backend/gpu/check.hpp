// Failed calls of CUDA and its libraries: call, file, line and what the library says of the code.
#pragma once

#include <stdexcept>

namespace tw::gpu {

class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The library has no algorithm for what was asked.
class DeviceRefusal : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

// The GPU has not the memory that a run needs.
class DeviceFull : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

struct CallSite {
  const char *call, *file;
  int line;
};
void check_cuda(int code, CallSite site);
void check_cublas(int code, CallSite site);
void check_cudnn(int code, CallSite site);
void check_nccl(int code, CallSite site);

}  // namespace tw::gpu

#define TW_CALL_SITE(call)    \
  ::tw::gpu::CallSite {       \
#call, __FILE__, __LINE__ \
  }
#define CUDA_CHECK(call) ::tw::gpu::check_cuda(static_cast<int>(call), TW_CALL_SITE(call))
#define CUBLAS_CHECK(call) ::tw::gpu::check_cublas(static_cast<int>(call), TW_CALL_SITE(call))
#define CUDNN_CHECK(call) ::tw::gpu::check_cudnn(static_cast<int>(call), TW_CALL_SITE(call))
#define NCCL_CHECK(call) ::tw::gpu::check_nccl(static_cast<int>(call), TW_CALL_SITE(call))
