#include "train/data.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "topology/check.hpp"

namespace tw::train {
namespace {

// splitmix64 (Steele, Lea and Flood 2014): a hash of 64 bits.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

Data Data::pattern(std::uint64_t seed, std::int32_t vocab) {
  Data out;
  out.seed_ = seed, out.vocab_ = vocab;
  return out;
}

Data Data::bytes_of(const std::string& path, std::int32_t vocab, std::int32_t seq) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(path, "data", "cannot be read");
  Data out;
  out.vocab_ = vocab, out.seq_ = seq;
  out.text_.assign(std::istreambuf_iterator<char>(file), {});
  if (out.text_.empty()) throw InputError(path, "data", "is empty");
  const auto beyond = [&](char c) { return static_cast<unsigned char>(c) >= vocab; };
  if (std::any_of(out.text_.begin(), out.text_.end(), beyond))
    throw InputError(path, "data", "holds bytes that the vocabulary has no token for");
  return out;
}

std::string Data::name() const {
  if (text_.empty()) return fmt::format("pattern {} of {}", seed_, vocab_);
  std::uint64_t hash = 0;
  for (const char c : text_) hash = mixed(hash ^ static_cast<unsigned char>(c));
  return fmt::format("{} bytes, hash {:016x}", text_.size(), hash);
}

std::int32_t Data::token(std::int64_t sequence, std::int32_t position) const {
  if (!text_.empty()) {
    const auto at = static_cast<std::uint64_t>(sequence) * static_cast<std::uint64_t>(seq_) +
                    static_cast<std::uint64_t>(position);
    return static_cast<unsigned char>(text_[at % text_.size()]);
  }
  const auto vocab = static_cast<std::uint64_t>(vocab_), place = static_cast<std::uint64_t>(position);
  const std::uint64_t own = mixed(seed_ ^ mixed(static_cast<std::uint64_t>(sequence)));
  const std::uint64_t noise = mixed(own ^ mixed(place));
  const std::uint64_t step = 1 + own / vocab % 3;
  const std::uint64_t token = noise % 8 == 0 ? noise / 8 : own % vocab + step * place;
  return static_cast<std::int32_t>(token % vocab);
}

}  // namespace tw::train
