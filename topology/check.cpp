#include "topology/check.hpp"

#include <cstdio>
#include <cstdlib>

#include "topology/utf8.hpp"

namespace tw {
namespace {

std::string one_line(std::string_view file, std::string_view path, std::string_view message) {
  std::string line(printable(file, 400));
  if (!path.empty()) line += ": " + printable(path, 200);
  return line + ": " + std::string(message);
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (out.size() >= limit) return out + "...";
    const std::size_t length = utf8_length(text.substr(i));
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0 || byte < 0x20 || byte == 0x7f) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

InputError::InputError(std::string_view file, std::string_view path, std::string_view message)
    : std::runtime_error(one_line(file, path, message)) {}

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "trainwright: internal check failed: %s (%s:%d); please report this\n", expression,
               file, line);
  std::abort();
}

}  // namespace tw
