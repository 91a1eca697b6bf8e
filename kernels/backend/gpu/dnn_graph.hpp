// Operation graphs of cuDNN's backend API, built from few parts: tensors, pointwise operations, products,
// reductions. Virtual tensors exist only inside the one kernel that cuDNN makes of the graph.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend/gpu/device.hpp"

struct cudnnContext;

namespace tw::gpu {

using TensorId = std::int64_t;
enum class Held : std::uint8_t { bf16, fp32, int32, boolean };
enum class Point : std::uint8_t { add, sub, mul, div, exp, log, index, not_less, select, copy };
enum class Reduced : std::uint8_t { sum, largest };
struct Extents {
  std::vector<std::int64_t> sizes, strides;
};

class Dnn {  // a handle of one stream
 public:
  explicit Dnn(Stream stream);
  ~Dnn();
  Dnn(const Dnn&) = delete;
  Dnn& operator=(const Dnn&) = delete;
  cudnnContext* handle() const { return handle_; }

 private:
  cudnnContext* handle_ = nullptr;
};

class DnnGraph {
 public:
  DnnGraph();
  ~DnnGraph();
  TensorId tensor(const Extents& extents, Held held);  // in memory: run() needs its address
  TensorId inside(const Extents& extents, Held held);  // virtual
  TensorId constant(float value);

  // y = op(x), op(x, b), or select: where t holds x, else b. index: of x's elements along `axis`.
  struct PointCall {
    Point op;
    TensorId x, b = 0, t = 0;
    std::int64_t axis = -1;
  };
  void point(const PointCall& call, TensorId y);
  void product(TensorId a, TensorId b, TensorId c);  // batched over the first two dimensions
  void reduce(Reduced how, TensorId x, TensorId y);
  void reshape(TensorId x, TensorId y);

  // DeviceRefusal where no engine of cuDNN takes the graph.
  void build(const Dnn& dnn);
  struct Binding {
    TensorId tensor;
    void* at;
  };
  void run(const Dnn& dnn, const std::vector<Binding>& tensors) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tw::gpu
