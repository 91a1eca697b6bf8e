// Failures: InputError for what a user wrote (one line, exit 2), TW_CHECK for what we broke.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace tw {

// Printable, at most `limit` bytes: control characters and invalid UTF-8 become \xNN.
std::string printable(std::string_view text, std::size_t limit = 60);

// Bad input: `file` it stands in ("command line" for options), `path` inside it, what is wrong and
// what is legal. what() is the one line that main prints.
class InputError : public std::runtime_error {
 public:
  InputError(std::string_view file, std::string_view path, std::string_view message);
};

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace tw

#define TW_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::tw::check_failed(#expression, __FILE__, __LINE__))
