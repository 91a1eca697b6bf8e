#include "costmodel/sim/code.hpp"

#include "costmodel/sim/stage_writer.hpp"

namespace tw {

std::string_view name_of(Lane lane) {
  constexpr std::string_view kNames[] = {"compute", "network",     "state",       "host",
                                         "aside",   "forward out", "backward out"};
  return kNames[static_cast<std::size_t>(lane)];
}

std::size_t StageCode::bytes() const {
  std::size_t sum = 0;
  for (const std::vector<SimOp>& lane : lanes) sum += lane.size() * sizeof(SimOp);
  return sum;
}

std::vector<StageCode> sim_code(const CodeInput& input) {
  Channels channels(*input.program);
  std::vector<StageCode> out;
  for (std::int32_t stage = 0; stage < input.program->stages(); ++stage)
    out.push_back(StageWriter(input, stage, channels).run());
  return out;
}

}  // namespace tw
