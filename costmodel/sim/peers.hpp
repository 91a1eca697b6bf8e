// The processes that play one run together, and the notes that they send each other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace tw {

struct SimPeers {
  using Words = std::vector<std::int64_t>;
  struct Note {
    std::int32_t from = 0;
    Words words;
  };
  std::int32_t self = 0, count = 1;
  // Notes of one process to another come in order.
  std::function<void(std::int32_t to, const Words& words)> send;
  // The next note of whichever process; none where none has come and `wait` is not asked.
  std::function<std::optional<Note>(bool wait)> receive;
};

}  // namespace tw
