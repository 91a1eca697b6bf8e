#include "planner/preflight/shell.hpp"

#include <set>

#include "planner/preflight/shell_commands.hpp"

namespace tw::preflight {
namespace {

// Options or settings among lines that are left out; messages and exits are no loss.
bool says_options(std::string_view text) {
  return text.find(" --") != std::string_view::npos || text.find('=') != std::string_view::npos ||
         text.find("run") != std::string_view::npos;
}

class Script : CommandReader {
 public:
  Script(std::string_view text, std::string_view file, const ShellVariables& given, int depth)
      : CommandReader(text, file, given, depth) {}

  ShellReading read() {
    statements({});
    if (!in_.ended()) in_.fail(fmt::format("\"{}\" closes nothing", printable(word_ahead(), 20)));
    return std::move(out_);
  }

 private:
  // ---- statements
  void statements(const std::set<std::string_view>& until) {
    if (++nested_ > kMostNested) in_.fail("statements inside statements are too deep");
    while (true) {
      skip_lines();
      if (in_.ended()) break;
      if (until.contains(word_ahead())) break;
      const std::size_t before = in_.at;
      statement();
      if (in_.at == before) in_.fail(fmt::format("\"{}\" is out of place", printable(word_ahead(), 20)));
    }
    --nested_;
  }

  void statement() {
    const int line = in_.line;
    if (take_word("if")) return branches();
    if (take_word("for")) return loop(line);
    if (take_word("while") || take_word("until")) return repeated(line);
    if (take_word("case")) return cases(line);
    if (take_word("function") || function_ahead()) return function(line);
    if (take_word("{")) return block("}");
    if (in_.here() == '(') return static_cast<void>(in_.take()), block(")");
    chain();
  }

  void block(std::string_view end) {
    statements({end});
    if (!take_word(end)) in_.fail(fmt::format("{} is missing", end));
  }

  // The truth of the last command before `then` or `do`.
  Truth condition(std::string_view end) {
    const std::size_t before = out_.commands.size();
    condition_ = Truth::unknown;
    statements({end});
    out_.commands.resize(before);
    if (!take_word(end)) in_.fail(fmt::format("{} is missing", end));
    return condition_;
  }

  void branches() {
    const bool outer = active_;
    bool done = false;
    for (bool first = true;; first = false) {
      const int line = in_.line;
      if (!first && take_word("fi")) break;
      if (!first && take_word("else")) {
        active_ = outer && !done;
        statements({"fi"});
        if (!take_word("fi")) in_.fail("fi is missing");
        break;
      }
      if (!first && !take_word("elif")) in_.fail("fi is missing");
      const Truth truth = condition("then");
      active_ = outer && !done;
      const bool asked = active_ && truth == Truth::unknown;
      if (truth != Truth::no) done = true;
      active_ = active_ && truth == Truth::yes;
      const std::size_t from = in_.at;
      statements({"elif", "else", "fi"});
      active_ = outer;
      if (asked && says_options(in_.text.substr(from, in_.at - from)))
        not_understood(line, "a condition that is known at run time only; its lines are left out");
    }
    active_ = outer;
  }

  void loop(int line) {
    skip_blanks();
    const std::string name(word_ahead());
    in_.at += name.size();
    skip_blanks();
    Words values;
    if (take_word("in")) values = words_of_line();
    skip_lines();
    if (!take_word("do")) in_.fail("do is missing");
    not_understood(line, values.empty() ? "a loop over what is not known; its lines are left out"
                                        : fmt::format("a loop; read once, with {}={}", name, values[0]));
    const bool outer = active_;
    active_ = active_ && !values.empty() && is_name(name);
    if (active_) out_.variables[name] = {values[0]};
    statements({"done"});
    active_ = outer;
    if (!take_word("done")) in_.fail("done is missing");
  }

  void repeated(int line) {
    condition("do");
    not_understood(line, "a loop; its lines are left out");
    const bool outer = active_;
    active_ = false;
    statements({"done"});
    active_ = outer;
    if (!take_word("done")) in_.fail("done is missing");
  }

  // NAME() {
  bool function_ahead() const {
    const std::string_view name = word_ahead();
    return is_name(name) && in_.text.substr(in_.at + name.size()).starts_with("()");
  }

  void function(int line) {
    skip_blanks();
    in_.at += word_ahead().size();
    if (in_.starts("()")) in_.at += 2;
    skip_lines();
    not_understood(line, "a function; its lines are left out");
    const bool outer = active_;
    active_ = false;
    if (!take_word("{")) in_.fail("{ is missing");
    block("}");
    active_ = outer;
  }

  void cases(int line) {
    skip_blanks();
    const Words subject = read_word(in_, out_.variables);
    skip_lines();
    if (!take_word("in")) in_.fail("in is missing");
    const bool outer = active_, known = subject.size() == 1 && !is_open(subject[0]);
    if (!known) not_understood(line, "a case over what is not known; its lines are left out");
    bool done = !known;
    while (true) {
      skip_lines();
      if (take_word("esac")) break;
      if (in_.ended()) in_.fail("esac is missing");
      const bool match = pattern(known ? subject[0] : "");
      active_ = outer && match && !done;
      done = done || match;
      statements({";;", "esac"});
      take_word(";;");
      active_ = outer;
    }
  }
  bool pattern(const std::string& subject) {
    bool match = false;
    while (!in_.ended() && in_.here() != ')') {
      skip_blanks();
      if (in_.here() == '|' || in_.here() == '(') {
        in_.take();
        continue;
      }
      const std::size_t before = in_.at;
      for (const std::string& each : read_word(in_, out_.variables))
        match = match || each == "*" || each == subject;
      if (in_.at == before && in_.here() != ')') in_.fail("a pattern of case is not understood");
    }
    in_.take();
    return match;
  }

  int nested_ = 0;
};

}  // namespace

bool is_open(std::string_view word) {
  return word.find("${") != std::string_view::npos || word.find("$(") != std::string_view::npos;
}

ShellReading evaluate(std::string_view text, std::string_view file, const ShellVariables& given, int depth) {
  return Script(text, file, given, depth).read();
}

ShellReading read_shell(std::string_view text, std::string_view file, const ShellVariables& given) {
  return evaluate(text, file, given, 0);
}

}  // namespace tw::preflight
