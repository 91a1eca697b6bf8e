#include "train/status.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "topology/check.hpp"

namespace tw::train {

Status::Status(const std::string& path, const View& view) {
  const std::string own = fmt::format("{}.{}", path, view.rank().value());
  const int file = open(own.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
  const bool sized = file >= 0 && ftruncate(file, kBytes) == 0;
  void* memory = sized ? mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
  const int why = errno;
  if (file >= 0) close(file);
  if (memory == MAP_FAILED)
    throw InputError(own, "", fmt::format("cannot be written: {}", std::strerror(why)));
  line_ = static_cast<char*>(memory);
  for (const Step& step : view.steps()) names_.push_back(to_string(step, view.units()));
}

Status::~Status() {
  munmap(line_, kBytes);
}

void Status::at(std::size_t operation, std::int64_t step) {
  const auto end = fmt::format_to_n(line_, kBytes - 2, "step {}, {}\n", step, names_[operation]).out;
  *end = '\0';
}

}  // namespace tw::train
