// ZB-V (Qi et al. 2023, arXiv 2401.10241, section 6; building blocks in arXiv 2405.15362): two chunks
// per device, down and back up, W split off. No device idles between its first and last slot when
// F = B = W, with the peak activations of 1F1B's first stage on every device.
#include "costmodel/schedules/paths.hpp"
#include "costmodel/schedules/slots.hpp"

namespace tw::schedules {
namespace {

std::string_view illegal(const PipeShape& shape) {
  if (const std::string_view broken = broken_size(shape); !broken.empty()) return broken;
  if (shape.vpp != 2) return "zb-v has two chunks per stage: vpp must be 2";
  if (shape.microbatches < 2 * shape.pp) return "zb-v needs at least 2*pp micro-batches";
  return {};
}

// Passes of the two chunks of a device, each in order of micro-batches.
class Writer {
 public:
  Writer(std::int32_t down, std::int32_t up) : chunks_{down, up} {}
  void forward(int leg) { add(Pass::forward, leg); }
  void backward(int leg) { add(Pass::backward_input, leg); }
  void weight(int leg) { add(Pass::weight, leg); }
  void backward_weight(int leg) {
    backward(leg);
    weight(leg);
  }
  std::int32_t weights(int leg) const { return counts_[leg][static_cast<int>(Pass::weight)]; }
  std::vector<Slot> slots;

 private:
  void add(Pass pass, int leg) {
    slots.push_back({pass, counts_[leg][static_cast<int>(pass)]++, chunks_[leg]});
  }
  std::int32_t chunks_[2];
  std::int32_t counts_[2][4] = {};
};

constexpr int kDown = 0, kUp = 1;

std::vector<Slot> slots(const PipeShape& shape, std::int32_t stage) {
  Writer out(stage, 2 * shape.pp - 1 - stage);
  const std::int32_t count = microbatch_count(shape), below = shape.pp - stage;
  for (std::int32_t i = 0; i < 2 * below - 1; ++i) out.forward(kDown);
  for (std::int32_t i = 0; i < stage; ++i) {
    out.forward(kUp);
    out.forward(kDown);
  }
  for (std::int32_t i = 0; i < below; ++i) {
    out.forward(kUp);
    out.backward_weight(kUp);
  }
  const std::int32_t ahead = 2 * shape.pp - 1 - stage;
  for (std::int32_t i = 0; i < count - shape.pp; ++i) {
    if (i + ahead < count) out.forward(kDown);
    out.backward_weight(kDown);
    out.forward(kUp);
    out.backward_weight(kUp);
  }
  for (std::int32_t i = 0; i < stage; ++i) {
    out.backward(kDown);
    out.backward(kUp);
  }
  for (std::int32_t i = 0; i < below; ++i) out.backward_weight(kDown);
  while (out.weights(kUp) < count) out.weight(kUp);
  while (out.weights(kDown) < count) out.weight(kDown);
  return std::move(out.slots);
}

// Between the fill and the steady part the down chunk holds 2*pp-1-stage micro-batches and the up
// chunk stage+1: 2*pp half-stages together.
std::int32_t in_flight(const PipeShape& shape, std::int32_t stage, std::int32_t chunk) {
  return chunk < shape.pp ? 2 * shape.pp - 1 - stage : stage + 1;
}

// The fill before and after a backward of the up chunk; a step of the steady part at its forward and after
// its backward of the down chunk; the tail when all up backwards are done, and after one more of the down.
Held held(const PipeShape& shape, std::int32_t stage, std::int32_t chunk, std::int32_t moment) {
  const std::int32_t ahead = 2 * shape.pp - 1 - stage, below = shape.pp - stage;
  const Held down[] = {{ahead, 0}, {ahead, 0},     {ahead + 1, 0},
                       {ahead, 1}, {below, stage}, {below - 1, stage + 1}};
  const Held up[] = {{stage + 1, 0}, {stage, 1}, {stage, 0}, {stage, 0}, {0, stage}, {0, stage}};
  return (chunk < shape.pp ? down : up)[moment];
}

}  // namespace

extern constinit const Schedule zb_v;
constinit const Schedule zb_v = {.name = "zb-v",
                                 .order = 4,
                                 .help = "a V of two chunks per stage with weight gradients in the gaps",
                                 .splits_weight = true,
                                 .weight_copies = 1,
                                 .illegal = illegal,
                                 .device = vee_device,
                                 .slots = slots,
                                 .in_flight = in_flight,
                                 .makespan = zb_v_makespan,
                                 .moments = 6,
                                 .held = held};

}  // namespace tw::schedules
