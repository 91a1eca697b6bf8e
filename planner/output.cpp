#include "planner/output.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(std::string_view option, const std::string& path, const std::string& why) {
  throw InputError("command line", option, "cannot write " + printable(path, 200) + ": " + why);
}

// A terminal, a pipe or a device: written in place. A rename would put a file where the device was.
void write_in_place(std::string_view option, const std::string& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (!file) fail(option, path, std::strerror(errno));
  const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool flushed = std::fflush(file) == 0;
  const int error = errno;
  if (std::fclose(file) != 0 || !whole || !flushed) fail(option, path, std::strerror(error));
}

}  // namespace

void print(std::string_view text) {
  const bool whole = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!whole || std::fflush(stdout) != 0) throw InputError("standard output", "", std::strerror(errno));
}

void check_output(std::string_view option, const std::string& path) {
  if (path.empty() || path == "-") return;
  std::error_code error;
  if (fs::is_directory(path, error)) fail(option, path, "is a directory; give a file");
  const fs::path folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  if (!fs::is_directory(folder, error)) fail(option, path, "there is no such folder");
  const bool exists = fs::exists(path, error);
  if (exists && ::access(path.c_str(), W_OK) != 0) fail(option, path, std::strerror(errno));
  if (!exists && ::access(folder.c_str(), W_OK) != 0) fail(option, path, std::strerror(errno));
}

void write_output(std::string_view option, const std::string& path, std::string_view text) {
  if (path == "-") return print(text);
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) return write_in_place(option, path, text);
  write_file(path, text);
}

}  // namespace tw
