// Times the operations of training as training runs them: a Program of a small synthetic model is run by
// the trainer's own engine, on all ranks at once, and every operation and every exchange is timed alone.
// Exchanges begin together (a barrier before each), so that none is charged for a rank that is late.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "calibrate/fit/rows.hpp"
#include "kernels/backend/messages.hpp"

namespace tw {

// Axes: what is run. Widths are of the whole model; experts 0: dense layers alone.
struct TrainingShape {
  std::int32_t hidden = 0, heads = 0, kv_heads = 0, ffn = 0, experts = 0, expert_ffn = 0;
  std::int32_t seq = 0, sequences = 0;  // of a micro-batch
  std::string layout = "dp=1";          // dp=1: each rank alone; else over all ranks
};
std::string to_string(const TrainingShape& shape);

// The shapes of a calibration: dense and routed models of hidden 128 to 512, 64 to 1024 rows.
std::vector<TrainingShape> training_shapes();
// Layouts of `ranks` ranks in which each kind of exchange occurs.
std::vector<TrainingShape> exchange_shapes(std::int32_t ranks);

struct MeasuredOps {
  std::vector<KernelRow> kernels;  // means over ranks of what is taken of each rank's times
  std::vector<CollectiveRow> collectives;
  std::vector<RoutingRow> routing;  // where a layout has ep
};

// One shape, stepped when its turn comes: machines grow faster and slower over minutes, and shapes that take
// turns see the same of it.
class ShapeRun {
 public:
  ShapeRun(const TrainingShape& shape, Messages& messages, std::int32_t ranks);
  ~ShapeRun();
  ShapeRun(ShapeRun&&) noexcept;

  void step();
  // The medians of everything that takes 2 % of a step or more have at most this relative standard error,
  // on every rank.
  bool known(double error) const;
  enum class Take { median, fast };  // of a rank's times
  MeasuredOps result(Take take = Take::median) const;

 private:
  class Parts;
  std::unique_ptr<Parts> parts_;
  Messages& messages_;
  std::vector<Rank> everyone_;
  int steps_ = 0;
};

}  // namespace tw
