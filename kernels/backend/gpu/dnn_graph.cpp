#include "kernels/backend/gpu/dnn_graph.hpp"

#include <cudnn.h>

#include <algorithm>
#include <list>

#include "kernels/backend/gpu/check.hpp"

namespace tw::gpu {
namespace {

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    CUDNN_CHECK(cudnnBackendCreateDescriptor(type, &descriptor_));
  }
  ~Descriptor() { cudnnBackendDestroyDescriptor(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
           const void* values) {
    CUDNN_CHECK(cudnnBackendSetAttribute(descriptor_, name, type, count, values));
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.descriptor_);
  }
  void finish() { CUDNN_CHECK(cudnnBackendFinalize(descriptor_)); }
  bool finishes() { return cudnnBackendFinalize(descriptor_) == CUDNN_STATUS_SUCCESS; }
  cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

cudnnDataType_t type_of(Held held) {
  switch (held) {
    case Held::bf16:
      return CUDNN_DATA_BFLOAT16;
    case Held::fp32:
      return CUDNN_DATA_FLOAT;
    case Held::int32:
      return CUDNN_DATA_INT32;
    case Held::boolean:
      return CUDNN_DATA_BOOLEAN;
  }
  return CUDNN_DATA_FLOAT;
}

struct PointKind {
  Point op;
  cudnnPointwiseMode_t mode;
  cudnnDataType_t arithmetic;
};
constexpr PointKind kPoints[] = {{Point::add, CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT},
                                 {Point::sub, CUDNN_POINTWISE_SUB, CUDNN_DATA_FLOAT},
                                 {Point::mul, CUDNN_POINTWISE_MUL, CUDNN_DATA_FLOAT},
                                 {Point::div, CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT},
                                 {Point::exp, CUDNN_POINTWISE_EXP, CUDNN_DATA_FLOAT},
                                 {Point::log, CUDNN_POINTWISE_LOG, CUDNN_DATA_FLOAT},
                                 {Point::index, CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32},
                                 {Point::not_less, CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN},
                                 {Point::select, CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT},
                                 {Point::copy, CUDNN_POINTWISE_IDENTITY, CUDNN_DATA_FLOAT}};

}  // namespace

Dnn::Dnn(Stream stream) {
  CUDNN_CHECK(cudnnCreate(&handle_));
  CUDNN_CHECK(cudnnSetStream(handle_, stream));
}
Dnn::~Dnn() {
  cudnnDestroy(handle_);
}

struct DnnGraph::State {
  std::list<Descriptor> tensors, parts, operations;
  std::list<float> constants;
  std::vector<Binding> held_constants;
  std::unique_ptr<Descriptor> plan;
  Buffer workspace;

  // Ids count from 1; 0 is none.
  Descriptor& at(TensorId id) { return *std::next(tensors.begin(), id - 1); }
  TensorId add(const Extents& extents, Held held, bool inside, bool constant) {
    Descriptor& t = tensors.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const auto id = static_cast<TensorId>(tensors.size());
    const auto count = static_cast<std::int64_t>(extents.sizes.size());
    t.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type_of(held));
    t.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, count, extents.sizes.data());
    t.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, count, extents.strides.data());
    t.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::int64_t{16});
    t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
    t.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, inside);
    t.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, constant);
    t.finish();
    return id;
  }
  bool plan_of(const Dnn& dnn, const Descriptor& graph, cudnnBackendHeurMode_t mode);
};

DnnGraph::DnnGraph() : state_(std::make_unique<State>()) {}
DnnGraph::~DnnGraph() = default;

TensorId DnnGraph::tensor(const Extents& extents, Held held) {
  return state_->add(extents, held, false, false);
}
TensorId DnnGraph::inside(const Extents& extents, Held held) {
  return state_->add(extents, held, true, false);
}
TensorId DnnGraph::constant(float value) {
  const TensorId id = state_->add({{1, 1, 1, 1}, {1, 1, 1, 1}}, Held::fp32, false, true);
  state_->held_constants.push_back({id, &state_->constants.emplace_back(value)});
  return id;
}

void DnnGraph::point(const PointCall& call, TensorId y) {
  const auto kind =
      std::find_if(std::begin(kPoints), std::end(kPoints), [&](const auto& k) { return k.op == call.op; });
  Descriptor& how = state_->parts.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, kind->mode);
  how.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, kind->arithmetic);
  if (call.axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, call.axis);
  how.finish();
  Descriptor& op = state_->operations.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, state_->at(call.x));
  if (call.b != 0) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, state_->at(call.b));
  if (call.t != 0) op.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, state_->at(call.t));
  op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, state_->at(y));
  op.finish();
}

void DnnGraph::product(TensorId a, TensorId b, TensorId c) {
  Descriptor& how = state_->parts.emplace_back(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  how.finish();
  Descriptor& op = state_->operations.emplace_back(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
  op.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, state_->at(a));
  op.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, state_->at(b));
  op.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, state_->at(c));
  op.finish();
}

void DnnGraph::reduce(Reduced how, TensorId x, TensorId y) {
  Descriptor& kind = state_->parts.emplace_back(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
           how == Reduced::sum ? CUDNN_REDUCE_TENSOR_ADD : CUDNN_REDUCE_TENSOR_MAX);
  kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  kind.finish();
  Descriptor& op = state_->operations.emplace_back(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  op.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, state_->at(x));
  op.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, state_->at(y));
  op.finish();
}

void DnnGraph::reshape(TensorId x, TensorId y) {
  Descriptor& op = state_->operations.emplace_back(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  op.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, state_->at(x));
  op.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, state_->at(y));
  op.finish();
}

// The first of the proposals, best first, that this GPU can run.
bool DnnGraph::State::plan_of(const Dnn& dnn, const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor proposals(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  proposals.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  proposals.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (!proposals.finishes()) return false;
  std::int64_t count = 0;
  CUDNN_CHECK(cudnnBackendGetAttribute(proposals.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr));
  std::list<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i)
    raw.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  CUDNN_CHECK(cudnnBackendGetAttribute(proposals.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, raw.data()));
  for (const Descriptor& each : found) {
    auto candidate = std::make_unique<Descriptor>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    candidate->set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, dnn.handle());
    candidate->set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, each);
    if (!candidate->finishes()) continue;
    plan = std::move(candidate);
    return true;
  }
  return false;
}

void DnnGraph::build(const Dnn& dnn) {
  State& s = *state_;
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& op : s.operations) raw.push_back(op.get());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, dnn.handle());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<std::int64_t>(raw.size()), raw.data());
  graph.finish();
  if (!s.plan_of(dnn, graph, CUDNN_HEUR_MODE_A) && !s.plan_of(dnn, graph, CUDNN_HEUR_MODE_FALLBACK)) {
    char last[512] = "";
    cudnnGetLastErrorString(last, sizeof last);
    throw DeviceRefusal(std::string("no engine of cuDNN takes this graph; ") + last);
  }
  std::int64_t count = 0, bytes = 0;
  CUDNN_CHECK(cudnnBackendGetAttribute(s.plan->get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                       CUDNN_TYPE_INT64, 1, &count, &bytes));
  s.workspace = Buffer(std::max<std::int64_t>(bytes, 16));
}

void DnnGraph::run(const Dnn& dnn, const std::vector<Binding>& tensors) const {
  std::vector<std::int64_t> ids;
  std::vector<void*> pointers;
  const auto bind = [&](const Binding& each) { ids.push_back(each.tensor), pointers.push_back(each.at); };
  for (const Binding& each : tensors) bind(each);
  for (const Binding& each : state_->held_constants) bind(each);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  const auto count = static_cast<std::int64_t>(ids.size());
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, state_->workspace.data());
  pack.finish();
  CUDNN_CHECK(cudnnBackendExecute(dnn.handle(), state_->plan->get(), pack.get()));
}

}  // namespace tw::gpu
