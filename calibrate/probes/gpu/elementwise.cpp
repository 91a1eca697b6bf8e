// Memory-bound operators: rows and width; the shape's first number is the bytes that one execution must
// move. Feeds the elementwise curve.
#include <algorithm>
#include <memory>

#include "calibrate/probes/gpu/probe.hpp"
#include "kernels/training_ops.hpp"

namespace tw::gpu {
namespace {

// elements: of one operand, rows * width. bytes: moved per element of it.
struct Operands3 {
  const Rotating &a, &b, &c;
};
struct Op {
  const char* name;
  double bytes;    // per element
  double a, b, c;  // 16-bit elements of each operand, per element
  void (*run)(std::int64_t rows, std::int64_t width, const Operands3&, std::int64_t turn, Stream stream);
};

float* fp32(const Rotating& r, std::int64_t turn) {
  return static_cast<float*>(r.at(turn));
}

// Packed rows of heads of 128, one in eight of keys and one of values.
NormRopeSize heads_of(std::int64_t rows, std::int64_t width) {
  const std::int64_t all = width / 128, kv = all / 8;
  return {rows, all - 2 * kv, kv, 128, 512, 1e-5f};
}

constexpr Op kOps[] = {
    {"copy", 4, 1, 1, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { on_device(o.a.at(t), o.b.at(t), 2 * n * w, s); }},
    {"copy_kernel", 4, 1, 1, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { copy_elements(o.a.at(t), o.b.at(t), n * w, s); }},
    {"add", 6, 1, 1, 1,
     [](auto n, auto w, const auto& o, auto t, Stream s) { add(o.a.at(t), o.b.at(t), o.c.at(t), n * w, s); }},
    {"widen", 6, 1, 2, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { widen(o.a.at(t), fp32(o.b, t), n * w, s); }},
    {"narrow", 6, 2, 1, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { narrow(fp32(o.a, t), o.b.at(t), n * w, s); }},
    {"cast_e4m3", 3, 1, 0.5, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { cast_fp8(o.a.at(t), o.b.at(t), n * w, 1, s); }},
    {"cast_e4m3_transposed", 3, 1, 0.5, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       cast_fp8_transposed(o.a.at(t), o.b.at(t), n, w, 1, s);
     }},
    {"largest", 2, 1, 0.01, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) { largest(o.a.at(t), fp32(o.b, 0), n * w, s); }},
    {"norm", 4, 1, 1, 0.1,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       rms_norm_forward({n, w, 1e-5f}, o.a.at(t), o.c.at(t), o.b.at(t), s);
     }},
    {"norm.backward", 6, 1, 1, 1,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       // The last row of c's next copy serves as weight, its gradient goes to a's start of another turn.
       rms_norm_backward({n, w, 1e-5f}, {o.a.at(t), o.c.at(t + 1), o.b.at(t), o.c.at(t), fp32(o.a, t + 1)},
                         s);
     }},
    {"add_norm", 8, 1, 1, 2,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       void* sum = o.c.at(t);
       add_norm_forward({n, w, 1e-5f},
                        {o.a.at(t), o.b.at(t), o.a.at(t + 1), sum, static_cast<std::byte*>(sum) + 2 * n * w},
                        s);
     }},
    {"norm_rope", 4, 1, 1, 0.5,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       norm_rope_forward(heads_of(n, w), o.a.at(t), o.a.at(t + 1), {fp32(o.c, 0), fp32(o.c, 1)}, o.b.at(t),
                         s);
     }},
    {"norm_rope.backward", 5.75, 1, 1, 1,  // of seven heads in eight the input is read too
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       norm_rope_backward(heads_of(n, w), {o.a.at(t), o.a.at(t + 1), o.b.at(t), o.c.at(t), fp32(o.c, t + 1)},
                          {fp32(o.a, 0), fp32(o.a, 1)}, s);
     }},
    {"swiglu", 6, 2, 1, 0.01,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       swiglu_forward({n, w}, o.a.at(t), o.b.at(t), s);
     }},
    {"swiglu.backward", 10, 2, 1, 2,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       swiglu_backward({n, w}, o.a.at(t), o.b.at(t), o.c.at(t), s);
     }},
    {"rope", 4, 1, 0.01, 0.5,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       rope({n, w / 128, 128, w, 1024}, fp32(o.c, 0), fp32(o.c, 1), o.a.at(t), s);
     }},
    {"cross_entropy", 4, 1, 0.1, 0.1,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       score_and_gradient({n, w, 0, w}, static_cast<const std::int32_t*>(o.b.at(0)), 1, o.a.at(t),
                          fp32(o.c, t), s);
     }},
    {"optimizer", 30, 2, 5, 2,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       float* state = fp32(o.c, t);
       float* moments = fp32(o.b, t);
       adamw({1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.5f},
             {fp32(o.a, t), state, moments, moments + n * w, moments + 2 * n * w, n * w}, s);
     }},
    {"gather", 4, 1, 1, 0.1,
     [](auto n, auto w, const auto& o, auto t, Stream s) {
       gather_rows({n, w}, static_cast<const std::int32_t*>(o.c.at(0)), o.a.at(t), o.b.at(t), s);
     }},
};

std::vector<Case> cases(const Launch&) {
  std::vector<Case> all;
  constexpr std::int64_t kSizes[][2] = {{512, 4096}, {2048, 4096}, {8192, 4096}, {8192, 8192}, {16384, 8192}};
  constexpr std::int64_t kModels[][2] = {{4096, 3584}, {8192, 5120}, {4096, 14336}};
  const auto add = [&](const Op& op, std::int64_t rows, std::int64_t width, const char* use) {
    const bool loss = op.name == std::string("cross_entropy");
    const std::int64_t wide = loss ? 8 * width : width;
    all.push_back(
        {op.name, {static_cast<std::int64_t>(op.bytes * static_cast<double>(rows * wide)), rows, wide}, use});
  };
  for (const Op& op : kOps) {
    for (const auto& [rows, width] : kSizes) add(op, rows, width, "fit");
    for (const auto& [rows, width] : kModels) add(op, rows, width, "check");
  }
  all.push_back({"copy", {1L << 31, 131072, 4096}, "fit"});
  return all;
}

// Row numbers in a mixed order, or targets of a loss: below `rows`.
void fill_indices(const Rotating& where, std::int64_t rows, std::int64_t below, Stream stream) {
  std::vector<std::int32_t> index(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i)
    index[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * 7919 % below);
  to_device(index.data(), where.at(0), 4 * rows, stream);
  synchronise();
}

std::vector<LogRow> measure(Bench& bench, const Case& one) {
  const auto op =
      std::find_if(std::begin(kOps), std::end(kOps), [&](const Op& o) { return o.name == one.op; });
  const std::int64_t rows = one.shape.at(1), width = one.shape.at(2), bytes = one.shape.at(0);
  const auto operand = [&](double share) {
    const auto elements = static_cast<std::int64_t>(share * static_cast<double>(rows * width));
    constexpr std::int64_t kLeast = 1 << 18;
    return Rotating(bench, std::max(elements, kLeast), 1, bytes);
  };
  const Rotating a = operand(op->a), b = operand(op->b), c = operand(op->c);
  if (one.op == "gather") fill_indices(c, rows, rows, bench.stream);
  if (one.op == "cross_entropy") fill_indices(b, rows, width, bench.stream);
  if (one.op == "optimizer") {  // second moments are not negative
    for (std::int64_t t = 0; t < b.count(); ++t) clear(b.at(t), 10 * rows * width, bench.stream);
  }
  return {burst(bench, one, {}, [&](std::int64_t turn) {
    op->run(rows, width, {a, b, c}, turn, bench.stream);
  })};
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Op& op : kOps) all.push_back(op.name);
  return all;
}

}  // namespace

const Probe kElementwise = {"elementwise", names(), false, cases, measure};

}  // namespace tw::gpu
