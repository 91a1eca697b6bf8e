// Which bytes of one range are in use: the smallest free block that is large enough is taken, neighbours
// that are free become one. Says how far the range was ever needed.
#pragma once

#include <cstdint>
#include <map>

namespace tw::train {

class Arena {
 public:
  static constexpr std::int64_t kAlign = 512;

  bool fits(std::int64_t bytes) const;    // without going beyond extent()
  std::int64_t take(std::int64_t bytes);  // the first byte of a block
  void give(std::int64_t first);
  std::int64_t in_use() const { return in_use_; }
  std::int64_t peak() const { return peak_; }      // of the bytes in use, rounded up to whole blocks
  std::int64_t extent() const { return extent_; }  // behind the last byte ever used

 private:
  using Blocks = std::map<std::int64_t, std::int64_t>;  // first byte: bytes
  Blocks::iterator smallest(std::int64_t bytes);

  Blocks free_, taken_;
  std::int64_t in_use_ = 0, peak_ = 0, extent_ = 0;
};

}  // namespace tw::train
