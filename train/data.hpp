// Tokens by (sequence, position): a seeded pattern that can be learnt, or the bytes of a file. Any rank
// can ask for any token, so no layout changes what is trained on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tw::train {

class Data {
 public:
  // Arithmetic progressions modulo the vocabulary, one token in eight replaced by noise.
  static Data pattern(std::uint64_t seed, std::int32_t vocab);
  // InputError where the file cannot be read, is empty, or holds bytes beyond the vocabulary.
  static Data bytes_of(const std::string& path, std::int32_t vocab, std::int32_t seq);

  // Which tokens these are: the same text for the same ones.
  std::string name() const;
  std::int32_t token(std::int64_t sequence, std::int32_t position) const;

 private:
  std::uint64_t seed_ = 0;
  std::int32_t vocab_ = 0, seq_ = 0;
  std::string text_;
};

}  // namespace tw::train
