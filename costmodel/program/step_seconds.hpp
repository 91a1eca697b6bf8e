// Seconds of every step of a Program, from the prices that the closed form sums up: operations by the
// calibration's curves, states by their collectives. What runs beside what is for the player to find out.
#pragma once

#include <vector>

#include "costmodel/price.hpp"
#include "costmodel/program/program.hpp"

namespace tw {

// Of each step of each stage, parallel to Program::steps.
using StepSeconds = std::vector<std::vector<double>>;
StepSeconds step_seconds(const Program& program, const Machine& machine);

}  // namespace tw
