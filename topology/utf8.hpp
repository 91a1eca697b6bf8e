// The length of the UTF-8 sequence at the start of a text, 0 where it is invalid (RFC 3629).
#pragma once

#include <cstddef>
#include <string_view>

namespace tw {

std::size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);

}  // namespace tw
