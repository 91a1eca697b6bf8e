// Checks that a Program can run and means what it should. Traffic: sends meet receives and collectives
// agree on every member, played with buffered sends, blocking receives and collectives that need all
// members. Each rank: every micro-batch once, forward before backward before weight gradients; values in
// single assignment, read while alive and freed once; weights gathered before use; gradients reduced once
// complete, then the update.
#pragma once

#include <string>
#include <vector>

#include "costmodel/program/view.hpp"

namespace tw {

struct Finding {
  std::int32_t rank = 0;
  std::size_t step = 0;  // of the rank's steps
  std::string op;        // the step in words
  std::string reason;
};
std::string to_string(const Finding& finding);

// Empty: the Program is sound. Stops at kMostFindings per rank.
inline constexpr std::size_t kMostFindings = 20;
std::vector<Finding> verify(const ProgramSteps& steps);
std::vector<Finding> verify(const Program& program);

// The two halves.
std::vector<Finding> verify_rank(const ProgramSteps& steps, std::int32_t rank);
std::vector<Finding> verify_traffic(const ProgramSteps& steps);

}  // namespace tw
