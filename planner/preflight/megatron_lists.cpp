#include <fmt/format.h>

#include <charconv>

#include "planner/preflight/megatron_words.hpp"
#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::size_t kMostEntries = 4096;
constexpr int kMaxDepth = 32;

// A Python expression of lists: [a,b], + and * number, brackets.
class Lists {
 public:
  Lists(std::string_view text, const std::string& file) : text_(text), file_(file) {}
  std::vector<int> read() {
    std::vector<int> out = sum();
    if (here() != '\0') fail();
    return out;
  }

 private:
  [[noreturn]] void fail() const {
    throw InputError(file_, "", fmt::format("\"{}\" is no list of layers", printable(text_)));
  }
  char here() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  int number() {
    int value = 0;
    here();
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc{} || value < 0) fail();
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }
  std::vector<int> sum() {
    if (++depth_ > kMaxDepth) fail();
    std::vector<int> out = product();
    while (here() == '+') {
      ++at_;
      const std::vector<int> more = product();
      out.insert(out.end(), more.begin(), more.end());
      if (out.size() > kMostEntries) fail();
    }
    --depth_;
    return out;
  }
  std::vector<int> product() {
    std::vector<int> out = atom();
    while (here() == '*') {
      ++at_;
      const auto times = static_cast<std::size_t>(number());
      if (times * out.size() > kMostEntries) fail();
      std::vector<int> repeated;
      for (std::size_t i = 0; i < times; ++i) repeated.insert(repeated.end(), out.begin(), out.end());
      out = std::move(repeated);
    }
    return out;
  }
  std::vector<int> atom() {
    if (here() == '(') {
      ++at_;
      std::vector<int> out = sum();
      if (here() != ')') fail();
      return ++at_, out;
    }
    if (here() != '[') fail();
    ++at_;
    std::vector<int> out;
    while (here() != ']') {
      out.push_back(number());
      if (out.size() > kMostEntries) fail();
      if (here() == ',') ++at_;
    }
    return ++at_, out;
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

// E, t, m, L, | and brackets, each followed by *N or not; commas are ornament.
class Pipeline {
 public:
  Pipeline(std::string_view text, const std::string& file) : text_(text), file_(file) {}
  std::string read() {
    std::string out = run();
    if (at_ != text_.size()) fail();
    return out;
  }

 private:
  [[noreturn]] void fail() const {
    throw InputError(file_, "", fmt::format("\"{}\" is no pipeline layout", printable(text_)));
  }
  std::string run() {
    if (++depth_ > kMaxDepth) fail();
    std::string out;
    while (at_ < text_.size() && text_[at_] != ')') {
      std::string piece = one();
      std::size_t times = 1;
      if (at_ < text_.size() && text_[at_] == '*') {
        const auto [end, error] = std::from_chars(text_.data() + at_ + 1, text_.data() + text_.size(), times);
        if (error != std::errc{}) fail();
        at_ = static_cast<std::size_t>(end - text_.data());
      }
      if (times > kMostEntries || piece.size() * times + out.size() > kMostEntries) fail();
      for (std::size_t i = 0; i < times; ++i) out += piece;
    }
    --depth_;
    return out;
  }
  std::string one() {
    const char c = text_[at_++];
    if (c == ',') return "";
    if (c != '(') {
      if (std::string_view("EtmL|").find(c) == std::string_view::npos) fail();
      return std::string(1, c);
    }
    std::string out = run();
    if (at_ >= text_.size() || text_[at_] != ')') fail();
    return ++at_, out;
  }

  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::vector<int> layer_pattern(const std::string& text, std::int32_t layers, const std::string& file) {
  if (text.find('[') == std::string::npos) {
    const std::int64_t every = whole_of(file, "moe_layer_freq", text);
    if (every < 1) throw InputError(file, "", fmt::format("\"{}\" must be 1 or more", printable(text)));
    std::vector<int> out;
    for (std::int32_t i = 0; i < layers; ++i) out.push_back(i % every == 0 ? 1 : 0);
    return out;
  }
  std::vector<int> out = Lists(text, file).read();
  if (out.size() != static_cast<std::size_t>(layers)) {
    throw InputError(
        file, "",
        fmt::format("the pattern \"{}\" has {} entries for {} layers", printable(text), out.size(), layers));
  }
  return out;
}

std::string pattern_text(const std::vector<int>& layers) {
  std::string runs, list;
  int count = 0;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i;
    while (end < layers.size() && layers[end] == layers[i]) ++end;
    runs += fmt::format("{}[{}]*{}", runs.empty() ? "" : "+", layers[i], end - i);
    i = end, ++count;
  }
  for (const int each : layers) list += fmt::format("{}{}", list.empty() ? "" : ",", each);
  constexpr int kFewRuns = 4;
  return count <= kFewRuns ? "(" + runs + ")" : "[" + list + "]";
}

std::vector<std::int32_t> pipeline_layout(const std::string& text, const std::string& file) {
  std::vector<std::int32_t> out = {0};
  for (const char c : Pipeline(text, file).read()) {
    if (c == '|') out.push_back(0);
    if (c == 't') ++out.back();
  }
  return out;
}

std::string pipeline_layout_text(const std::vector<std::int32_t>& split, std::int32_t mtp) {
  std::string out = "E";
  for (std::size_t i = 0; i < split.size(); ++i) {
    if (i > 0) out += "|";
    if (split[i] > 0) out += fmt::format("t*{}", split[i]);
  }
  if (mtp > 0) out += fmt::format("m*{}", mtp);
  return out + "L";
}

}  // namespace tw::preflight
