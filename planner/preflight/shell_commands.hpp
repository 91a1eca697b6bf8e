// Commands of a shell script, with their assignments and redirections. Private to shell.cpp.
#pragma once

#include <fmt/format.h>

#include "planner/preflight/shell_words.hpp"
#include "topology/check.hpp"

namespace tw::preflight {

inline constexpr int kMostNested = 64;

enum class Truth : std::uint8_t { no, yes, unknown };
// [ ... ], [[ ... ]] and test: files are not looked at, so what asks for them is unknown.
Truth tested(std::vector<std::string> words);
// A script inside a script, `depth` deep.
ShellReading evaluate(std::string_view text, std::string_view file, const ShellVariables& given, int depth);

class CommandReader {
 protected:
  using Words = std::vector<std::string>;

  CommandReader(std::string_view text, std::string_view file, const ShellVariables& given, int depth)
      : in_{text, file, 0, 1, depth}, given_(given) {
    out_.variables = given;
  }

  // ---- blanks and operators
  void skip_blanks() {
    while (!in_.ended()) {
      const char c = in_.here();
      if (c == '\\' && in_.next() == '\n')
        in_.take(), in_.take();
      else if (c == ' ' || c == '\t' || c == '\r')
        in_.take();
      else
        return;
    }
  }

  void comment() {
    const std::size_t start = in_.at;
    while (!in_.ended() && in_.here() != '\n') in_.take();
    const std::string_view text = in_.text.substr(start, in_.at - start);
    if (!text.starts_with("#SBATCH")) return;
    ShellText line{text.substr(7), in_.file, 0, in_.line, 0};
    while (!line.ended()) {
      if (line.here() == ' ' || line.here() == '\t' || line.here() == '\r') {
        line.take();
        continue;
      }
      if (line.here() == '#') break;
      const std::size_t before = line.at;
      for (std::string& word : read_word(line, out_.variables)) out_.batch_options.push_back(std::move(word));
      if (line.at == before) line.take();
    }
  }

  void skip_lines() {
    while (true) {
      skip_blanks();
      const char c = in_.here();
      if (in_.starts(";;")) return;
      if (c == '#')
        comment();
      else if (c == '\n')
        end_of_line();
      else if (c == ';' || c == '&' || c == '|')
        in_.take();
      else
        return;
    }
  }

  void end_of_line() {
    in_.take();
    std::vector<std::pair<std::string, bool>> waiting;
    waiting.swap(documents_waiting_);
    for (const auto& [end, quoted] : waiting) document(end, quoted);
  }

  void document(const std::string& end, bool quoted) {
    std::string text;
    while (true) {
      if (in_.ended()) in_.fail(fmt::format("the document up to \"{}\" does not end", printable(end)));
      std::string line;
      while (!in_.ended() && in_.here() != '\n') line += in_.take();
      in_.take();
      const std::size_t first = line.find_first_not_of('\t');
      if ((first == std::string::npos ? line : line.substr(first)) == end) break;
      text += line + "\n";
    }
    if (active_) out_.documents[document_file_] = quoted ? text : expand(text, in_, out_.variables);
  }

  std::string_view word_ahead() const {
    std::size_t end = in_.at;
    while (end < in_.text.size() &&
           std::string_view(" \t\r\n;|&<>()").find(in_.text[end]) == std::string_view::npos)
      ++end;
    if (in_.starts(";;")) return in_.text.substr(in_.at, 2);
    if (end == in_.at && end < in_.text.size()) ++end;
    return in_.text.substr(in_.at, end - in_.at);
  }
  bool take_word(std::string_view word) {
    if (word_ahead() != word) return false;
    in_.at += word.size();
    return true;
  }

  void not_understood(int line, const std::string& what) {
    if (active_) out_.not_understood.push_back(fmt::format("line {}: {}", line, what));
  }

  // ---- commands
  Words words_of_line() {
    Words out;
    while (true) {
      skip_blanks();
      if (in_.ended() || std::string_view("\n;&|#").find(in_.here()) != std::string_view::npos) return out;
      const std::size_t before = in_.at;
      for (std::string& word : read_word(in_, out_.variables)) out.push_back(std::move(word));
      if (in_.at == before) in_.fail(fmt::format("\"{}\" is out of place", printable(word_ahead(), 20)));
    }
  }

  // Commands joined by && and ||: an ordinary one is taken to succeed.
  void chain() {
    const bool outer = active_;
    Truth truth = command();
    while (true) {
      skip_blanks();
      const bool both = in_.starts("&&"), either = in_.starts("||");
      if (!both && !either) break;
      const int line = in_.line;
      in_.at += 2;
      while (skip_blanks(), in_.here() == '\n') in_.take();
      if (truth == Truth::unknown) not_understood(line, "a condition that is known at run time only");
      active_ = outer && truth == (both ? Truth::yes : Truth::no);
      const Truth next = command();
      if (active_) truth = next;
      active_ = outer;
    }
    condition_ = truth;
  }

  Truth command() {
    skip_blanks();
    ShellCommand out{in_.line, {}};
    bool assigned = false;
    while (true) {
      skip_blanks();
      const char c = in_.here();
      if (in_.ended() || c == '\n' || c == ';' || c == '|' || c == ')') break;
      if (c == '&' && in_.next() != '>') break;
      if (c == '#') {
        comment();
        break;
      }
      if (redirection()) continue;
      if (out.words.empty() && assignment()) {
        assigned = true;
        continue;
      }
      if (c == '(') in_.fail("( is out of place");
      for (std::string& word : read_word(in_, out_.variables)) out.words.push_back(std::move(word));
    }
    pipe();
    if (out.words.empty()) return assigned ? Truth::yes : Truth::unknown;
    return finish(std::move(out));
  }

  // Only the first command of a pipe starts something.
  void pipe() {
    while (skip_blanks(), in_.here() == '|' && in_.next() != '|') {
      in_.take();
      while (!in_.ended() && in_.here() != '\n' && in_.here() != ';' && in_.here() != '|' &&
             in_.here() != '&' && in_.here() != ')') {
        const std::size_t before = in_.at;
        if (!redirection()) read_word(in_, out_.variables);
        if (in_.at == before) in_.take();
        skip_blanks();
      }
    }
  }

  Truth finish(ShellCommand&& command) {
    const std::string& first = command.words[0];
    if (first == "[" || first == "[[" || first == "test") return tested(assumed(command));
    if (first == "!" || first == "command" || first == "which") return Truth::unknown;
    if (first == "eval" && command.words.size() > 1) return evaluated(command);
    if (active_) out_.commands.push_back(std::move(command));
    return Truth::yes;
  }

  // -n and -z of a variable that nothing in the file sets: taken as not set.
  Words assumed(const ShellCommand& command) {
    Words words = command.words;
    for (std::size_t i = 1; i < words.size(); ++i) {
      const bool asks = words[i - 1] == "-n" || words[i - 1] == "-z";
      if (!asks || !words[i].starts_with("${") || words[i].find('}') != words[i].size() - 1) continue;
      if (active_)
        out_.assumed.push_back(fmt::format("line {}: {} is taken as not set", command.line, words[i]));
      words[i].clear();
    }
    return words;
  }

  // Its words are a script again.
  Truth evaluated(const ShellCommand& command) {
    if (!active_) return Truth::yes;
    std::string text;
    for (std::size_t i = 1; i < command.words.size(); ++i) text += (i > 1 ? " " : "") + command.words[i];
    if (in_.depth > kMostNested) in_.fail("eval inside eval is too deep");
    ShellReading inner = evaluate(text, in_.file, out_.variables, in_.depth + 1);
    for (ShellCommand& each : inner.commands)
      each.line = command.line, out_.commands.push_back(std::move(each));
    out_.variables = std::move(inner.variables);
    return Truth::yes;
  }

  bool redirection() {
    const std::size_t start = in_.at;
    std::size_t at = start;
    while (at < in_.text.size() && std::isdigit(static_cast<unsigned char>(in_.text[at])) != 0) ++at;
    if (at < in_.text.size() && in_.text[at] == '&' && at + 1 < in_.text.size() && in_.text[at + 1] == '>')
      ++at;
    if (at >= in_.text.size() || (in_.text[at] != '<' && in_.text[at] != '>')) return false;
    const bool document = in_.text.substr(at).starts_with("<<") && !in_.text.substr(at).starts_with("<<<");
    const bool writes = in_.text[at] == '>';
    while (at < in_.text.size() && std::string_view("<>&-").find(in_.text[at]) != std::string_view::npos)
      ++at;
    in_.at = at;
    skip_blanks();
    const bool quoted = in_.here() == '\'' || in_.here() == '"' || in_.here() == '\\';
    const Words target = read_word(in_, out_.variables);
    if (document && !target.empty()) documents_waiting_.emplace_back(target[0], quoted);
    if (writes && !target.empty()) document_file_ = target[0];
    return true;
  }

  // NAME=value, NAME+=value, NAME=( ... ), with or without export and its kin.
  bool assignment() {
    const std::string_view ahead = word_ahead();
    for (const std::string_view kin : {"export", "local", "readonly", "declare"}) {
      if (ahead == kin) return in_.at += kin.size(), true;
    }
    const std::size_t equals = in_.text.substr(in_.at).find('=');
    if (equals == std::string_view::npos || equals == 0) return false;
    std::string_view name = in_.text.substr(in_.at, equals);
    const bool more = name.ends_with('+');
    if (more) name.remove_suffix(1);
    if (!is_name(name)) return false;
    in_.at += equals + 1;
    assign(std::string(name), more, in_.here() == '(');
    return true;
  }

  void assign(const std::string& name, bool more, bool array) {
    Words values = array ? elements() : Words{one_value()};
    if (!active_ || given_.contains(name)) return;  // what the user gives wins
    Words& now = out_.variables[name];
    if (!more)
      now = std::move(values);
    else if (array)
      now.insert(now.end(), values.begin(), values.end());
    else
      (now.empty() ? now.emplace_back() : now.front()) += values[0];
  }

  // Of an assignment nothing is cut at blanks.
  std::string one_value() {
    std::string out;
    for (const std::string& field : read_word(in_, out_.variables)) out += (out.empty() ? "" : " ") + field;
    return out;
  }

  Words elements() {
    in_.take();
    Words out;
    while (true) {
      skip_lines();
      if (in_.here() == ')') return in_.take(), out;
      if (in_.ended()) in_.fail("( does not end");
      const std::size_t before = in_.at;
      for (std::string& word : read_word(in_, out_.variables)) out.push_back(std::move(word));
      if (in_.at == before) in_.fail(fmt::format("\"{}\" is out of place", printable(word_ahead(), 20)));
    }
  }

  ShellText in_;
  const ShellVariables& given_;
  ShellReading out_;
  bool active_ = true;  // not inside what is left out
  Truth condition_ = Truth::unknown;
  std::vector<std::pair<std::string, bool>> documents_waiting_;
  std::string document_file_;
};

}  // namespace tw::preflight
