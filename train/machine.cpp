#include "train/machine.hpp"

#include <unistd.h>

#include <fstream>
#include <thread>

namespace tw {

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) break;
    return line.substr(colon + 2) + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
  }
  return "unknown processor, " + std::to_string(std::thread::hardware_concurrency()) + " cores";
}

Bytes resident() {
  std::ifstream in("/proc/self/statm");
  std::int64_t size = 0, pages = 0;
  in >> size >> pages;
  return Bytes(pages * sysconf(_SC_PAGESIZE));
}

}  // namespace tw
