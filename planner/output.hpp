// Where results go: standard output, or a file that appears whole or not at all.
#pragma once

#include <string>
#include <string_view>

namespace tw {

// InputError when it cannot be written; `option` is named in it.
void write_output(std::string_view option, const std::string& path,
                  std::string_view text);  // "-": standard output
void print(std::string_view text);
// Fails before any work is done where the path cannot be written.
void check_output(std::string_view option, const std::string& path);

}  // namespace tw
