#include "topology/utf8.hpp"

namespace tw {
namespace {

struct Form {
  unsigned char low, high;  // range of the first byte
  unsigned char second_low, second_high;
  std::size_t length;
};

// RFC 3629, section 4: the well-formed byte ranges (no surrogates, no overlong forms).
constexpr Form kForms[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

bool between(unsigned char byte, unsigned char low, unsigned char high) {
  return byte >= low && byte <= high;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (const Form& form : kForms) {
    if (text.size() < form.length || !between(byte(0), form.low, form.high)) continue;
    if (form.length > 1 && !between(byte(1), form.second_low, form.second_high)) continue;
    bool valid = true;
    for (std::size_t i = 2; i < form.length; ++i) valid = valid && between(byte(i), 0x80, 0xbf);
    if (valid) return form.length;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace tw
