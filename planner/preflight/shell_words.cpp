#include "planner/preflight/shell_words.hpp"

#include <fmt/format.h>

#include <charconv>

#include "topology/check.hpp"

namespace tw::preflight {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kWordEnds = " \t\r\n;|&<>()";
constexpr std::string_view kSpecial = "@*#?$!-0123456789";
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxWords = 100000;

bool in_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

std::string joined_by_blanks(const std::vector<std::string>& values) {
  std::string out;
  for (std::size_t i = 0; i < values.size(); ++i) out += (i > 0 ? " " : "") + values[i];
  return out;
}

// What an expansion became: one field for each element where it is quoted and names all of an array.
struct Expanded {
  std::vector<std::string> values;
  bool all = false;  // of an array, or of the arguments
};

Expanded open(std::string_view text) {
  return {{std::string(text)}, false};
}

class Arithmetic {
 public:
  explicit Arithmetic(std::string_view text) : text_(text) {}
  std::optional<std::int64_t> value() {
    const auto out = sum();
    return out && blank() == '\0' ? out : std::nullopt;
  }

 private:
  char blank() {
    while (at_ < text_.size() && kBlanks.find(text_[at_]) != std::string_view::npos) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  std::optional<std::int64_t> factor() {
    if (++depth_ > kMaxDepth) return std::nullopt;
    if (blank() == '(') {
      ++at_;
      const auto out = sum();
      if (blank() != ')') return std::nullopt;
      ++at_, --depth_;
      return out;
    }
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc{}) return std::nullopt;
    at_ = static_cast<std::size_t>(end - text_.data()), --depth_;
    return value;
  }
  std::optional<std::int64_t> product() {
    auto left = factor();
    for (char op = blank(); left && (op == '*' || op == '/' || op == '%'); op = blank()) {
      ++at_;
      const auto right = factor();
      std::int64_t out = 0;
      if (!right || (op != '*' && *right <= 0)) return std::nullopt;
      if (op == '*' && __builtin_mul_overflow(*left, *right, &out)) return std::nullopt;
      left = op == '*' ? out : op == '/' ? *left / *right : *left % *right;
    }
    return left;
  }
  std::optional<std::int64_t> sum() {
    auto left = product();
    for (char op = blank(); left && (op == '+' || op == '-'); op = blank()) {
      ++at_;
      const auto right = product();
      std::int64_t out = 0;
      if (!right || (op == '+' ? __builtin_add_overflow(*left, *right, &out)
                               : __builtin_sub_overflow(*left, *right, &out)))
        return std::nullopt;
      left = out;
    }
    return left;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

// Names inside $(( )) need no dollar.
std::string with_values(std::string_view text, ShellVariables& variables) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && in_name(text[end])) ++end;
    const std::string_view name = text.substr(i, end - i);
    const auto found = is_name(name) ? variables.find(name) : variables.end();
    if (end == i)
      out += text[i++];
    else
      out += found != variables.end() && !found->second.empty() ? found->second.front() : std::string(name),
          i = end;
  }
  return out;
}

class Expansion {
 public:
  Expansion(ShellText& in, ShellVariables& variables) : in_(in), variables_(variables) {}

  // `at` stands on the dollar.
  Expanded run() {
    const std::size_t start = in_.at;
    in_.take();
    if (in_.starts("((")) return sum(start);
    if (in_.here() == '(') {
      in_.take();
      take_closed(in_, '(', ')');
      return open(in_.text.substr(start, in_.at - start));
    }
    if (in_.here() == '{') {
      in_.take();
      const std::string_view inside = take_closed(in_, '{', '}');
      return braces(inside, in_.text.substr(start, in_.at - start));
    }
    if (kSpecial.find(in_.here()) != std::string_view::npos && !in_.ended())
      return value_of(std::string(1, in_.take()), "");
    std::string name;
    while (in_name(in_.here())) name += in_.take();
    return name.empty() ? open("$") : value_of(name, "");
  }

 private:
  Expanded sum(std::size_t start) {
    in_.take(), in_.take();
    std::string_view inside = take_closed(in_, '(', ')');
    if (in_.here() != ')') in_.fail("$(( does not end");
    in_.take();
    const auto value = arithmetic(with_values(expand(inside, in_, variables_), variables_));
    return value ? Expanded{{std::to_string(*value)}, false} : open(in_.text.substr(start, in_.at - start));
  }

  Expanded value_of(const std::string& name, std::string_view index) {
    if (name == "@" || name == "*") return {{}, true};
    const auto found = variables_.find(name);
    if (found == variables_.end()) return open("${" + name + "}");
    if (index == "@" || index == "*") return {found->second, true};
    const std::size_t at = index.empty() ? 0 : static_cast<std::size_t>(arithmetic(index).value_or(-1));
    if (at < found->second.size()) return {{found->second[at]}, false};
    return {{""}, false};
  }

  Expanded braces(std::string_view inside, std::string_view whole) {
    const bool counted = inside.starts_with('#') && inside.size() > 1;
    if (counted) inside.remove_prefix(1);
    std::size_t end = 0;
    while (end < inside.size() && in_name(inside[end])) ++end;
    if (end == 0 && !inside.empty() && kSpecial.find(inside[0]) != std::string_view::npos) end = 1;
    const std::string name(inside.substr(0, end));
    std::string_view rest = inside.substr(end), index;
    if (rest.starts_with('[')) {
      const std::size_t close = rest.find(']');
      if (close == std::string_view::npos) return open(whole);
      index = rest.substr(1, close - 1), rest.remove_prefix(close + 1);
    }
    if (counted) {
      const auto found = variables_.find(name);
      if (found == variables_.end() || !rest.empty()) return open(whole);
      const std::vector<std::string>& all = found->second;
      return {{std::to_string(!index.empty() || all.empty() ? all.size() : all.front().size())}, false};
    }
    return rest.empty() ? value_of(name, index) : otherwise(name, rest, whole);
  }

  // ${NAME:-word}, ${NAME-word}, ${NAME:=word}, ${NAME:+word}.
  Expanded otherwise(const std::string& name, std::string_view rest, std::string_view whole) {
    const bool colon = rest.starts_with(':');
    if (colon) rest.remove_prefix(1);
    if (rest.empty() || std::string_view("-=+?").find(rest[0]) == std::string_view::npos) return open(whole);
    const char how = rest[0];
    const auto found = variables_.find(name);
    const bool set = found != variables_.end() && !(colon && joined_by_blanks(found->second).empty());
    if (how == '?') return set ? value_of(name, "") : open("${" + name + "}");
    if (how == '+' ? !set : set) return how == '+' ? Expanded{{""}, false} : value_of(name, "");
    std::string word = expand(rest.substr(1), in_, variables_);
    if (how == '=') variables_[name] = {word};
    return {{std::move(word)}, false};
  }

  ShellText& in_;
  ShellVariables& variables_;
};

// Builds the fields of one word.
class Word {
 public:
  Word(ShellText& in, ShellVariables& variables) : in_(in), variables_(variables) {}

  std::vector<std::string> read() {
    if (++in_.depth > kMaxDepth) in_.fail("words inside words are too deep");
    while (!in_.ended() && kWordEnds.find(in_.here()) == std::string_view::npos) piece();
    --in_.depth;
    if (begun_) fields_.push_back(std::move(field_));
    return std::move(fields_);
  }

  // All of the text as one string: only dollars, quotes and backslashes count.
  std::string read_quoted(bool drop_quotes) {
    if (++in_.depth > kMaxDepth) in_.fail("words inside words are too deep");
    while (!in_.ended()) {
      if (drop_quotes && (in_.here() == '"' || in_.here() == '\''))
        in_.take();
      else
        quoted_piece();
    }
    --in_.depth;
    for (std::size_t i = fields_.size(); i-- > 0;) field_ = fields_[i] + (field_.empty() ? "" : " ") + field_;
    return std::move(field_);
  }

 private:
  void add(std::string_view text) { field_ += text, begun_ = true; }
  void finish() {
    if (begun_) fields_.push_back(std::move(field_));
    field_.clear(), begun_ = false;
    if (fields_.size() > kMaxWords) in_.fail("more than 100000 words");
  }

  void piece() {
    const char c = in_.here();
    if (c == '\\') return escaped();
    if (c == '\'') return single_quoted();
    if (c == '"') return double_quoted();
    if (c == '`') return back_quoted();
    if (c == '$' && (in_.next() == '\'' || in_.next() == '"')) return static_cast<void>(in_.take());
    if (c == '$') return split(Expansion(in_, variables_).run());
    add(std::string(1, in_.take()));
  }

  void escaped() {
    in_.take();
    if (in_.here() == '\n')
      in_.take();
    else if (!in_.ended())
      add(std::string(1, in_.take()));
  }

  void single_quoted() {
    in_.take();
    add("");
    while (in_.here() != '\'') {
      if (in_.ended()) in_.fail("' does not end");
      add(std::string(1, in_.take()));
    }
    in_.take();
  }

  void back_quoted() {
    const std::size_t start = in_.at;
    in_.take();
    while (in_.here() != '`') {
      if (in_.ended()) in_.fail("` does not end");
      in_.take();
    }
    in_.take();
    add("$(" + std::string(in_.text.substr(start + 1, in_.at - start - 2)) + ")");
  }

  void double_quoted() {
    in_.take();
    // "${A[@]}" of an empty array is no word at all.
    const bool begun = begun_;
    const std::size_t start = in_.at, fields = fields_.size();
    while (in_.here() != '"') {
      if (in_.ended()) in_.fail("\" does not end");
      quoted_piece();
    }
    const bool only_all = in_.at > start && in_.text[start] == '$' && fields == fields_.size() && !begun_;
    in_.take();
    if (!(only_all && !begun)) begun_ = true;
  }

  void quoted_piece() {
    const char c = in_.here();
    if (c == '\\' && (in_.next() == '"' || in_.next() == '$' || in_.next() == '\\' || in_.next() == '`')) {
      in_.take();
      return add(std::string(1, in_.take()));
    }
    if (c == '\\' && in_.next() == '\n') return static_cast<void>((in_.take(), in_.take()));
    if (c == '`') return back_quoted();
    if (c != '$') return add(std::string(1, in_.take()));
    const Expanded expanded = Expansion(in_, variables_).run();
    if (!expanded.all) return add(joined_by_blanks(expanded.values));
    for (std::size_t i = 0; i < expanded.values.size(); ++i) {
      if (i > 0) finish();
      add(expanded.values[i]);
    }
  }

  // Unquoted: each value is cut at blanks; what is not known stays whole.
  void split(const Expanded& expanded) {
    for (std::size_t i = 0; i < expanded.values.size(); ++i) {
      if (i > 0) finish();
      const std::string& value = expanded.values[i];
      if (value.starts_with("$(") || value.starts_with("${")) {
        add(value);
        continue;
      }
      for (const char c : value) {
        if (kBlanks.find(c) != std::string_view::npos)
          finish();
        else
          add(std::string(1, c));
      }
    }
  }

  ShellText& in_;
  ShellVariables& variables_;
  std::vector<std::string> fields_;
  std::string field_;
  bool begun_ = false;
};

}  // namespace

char ShellText::take() {
  if (ended()) return '\0';
  if (text[at] == '\n') ++line;
  return text[at++];
}

void ShellText::fail(const std::string& why) const {
  throw InputError(file, fmt::format("line {}", line), why);
}

bool is_name(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) != 0) return false;
  for (const char c : text) {
    if (!in_name(c)) return false;
  }
  return true;
}

std::string_view take_closed(ShellText& in, char open, char close) {
  const std::size_t start = in.at;
  int depth = 1;
  while (true) {
    if (in.ended()) in.fail(fmt::format("{} does not end", open));
    const char c = in.take();
    if (c == '\\') in.take();
    if (c == open) ++depth;
    if (c == close && --depth == 0) break;
    if (c != '\'' && c != '"') continue;
    while (in.here() != c) {  // brackets between quotes do not count
      if (in.ended()) in.fail(fmt::format("{} does not end", c));
      if (in.here() == '\\' && c == '"') in.take();
      in.take();
    }
    in.take();
  }
  return in.text.substr(start, in.at - start - 1);
}

std::optional<std::int64_t> arithmetic(std::string_view text) {
  return Arithmetic(text).value();
}

std::vector<std::string> read_word(ShellText& in, ShellVariables& variables) {
  return Word(in, variables).read();
}

std::string expand(std::string_view text, const ShellText& within, ShellVariables& variables) {
  ShellText in{text, within.file, 0, within.line, within.depth};
  const bool quoted = text.starts_with('"') || text.starts_with('\'');
  return Word(in, variables).read_quoted(quoted);
}

}  // namespace tw::preflight
