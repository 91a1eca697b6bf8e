// What this machine calls itself, and what this process holds of its memory.
#pragma once

#include <string>

#include "topology/units.hpp"

namespace tw {

// "model name of the processor, N cores", from /proc/cpuinfo.
std::string processor();
// Of this process, from /proc/self/statm.
Bytes resident();

}  // namespace tw
