#include "tests/unit/house/source.hpp"

#include <algorithm>
#include <filesystem>

#include "topology/json.hpp"

namespace tw::house {
namespace fs = std::filesystem;
namespace {

bool has_extension(const fs::path& path, const std::vector<std::string>& extensions) {
  const std::string extension = path.extension().string();
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

// Blanks text[begin, end) except line ends; the end is clipped.
void blank(std::string& text, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < std::min(end, text.size()); ++i) {
    if (text[i] != '\n') text[i] = ' ';
  }
}

std::size_t after(std::string_view text, std::string_view mark, std::size_t from) {
  const std::size_t at = text.find(mark, from);
  return at == std::string_view::npos ? text.size() : at + mark.size();
}

// The end of the quoted literal that opens at `open`, past its closing quote.
std::size_t end_of_literal(std::string_view text, std::size_t open) {
  std::size_t i = open + 1;
  while (i < text.size() && text[i] != text[open] && text[i] != '\n') i += text[i] == '\\' ? 2u : 1u;
  return i + 1;
}

std::size_t end_of_raw_string(std::string_view text, std::size_t open) {
  const std::size_t paren = text.find('(', open);
  if (paren == std::string_view::npos) return text.size();
  const std::string close = ")" + std::string(text.substr(open + 1, paren - open - 1)) + "\"";
  return after(text, close, paren);
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// The end of what is no code at i; i itself where code stands.
std::size_t end_of_blank(std::string_view text, std::size_t i) {
  const std::string_view rest = text.substr(i);
  const char before = i == 0 ? ' ' : text[i - 1];
  if (rest.starts_with("//")) return std::min(text.find('\n', i), text.size());
  if (rest.starts_with("/*")) return after(text, "*/", i + 2);
  if (rest.front() == '"') return before == 'R' ? end_of_raw_string(text, i) : end_of_literal(text, i);
  // After a digit or letter, ' separates digits.
  if (rest.front() == '\'' && !is_word(before)) return end_of_literal(text, i);
  return i;
}

}  // namespace

std::vector<SourceFile> files_under(const std::vector<std::string>& folders,
                                    const std::vector<std::string>& extensions) {
  const fs::path root = TW_SOURCE_DIR;
  std::vector<SourceFile> files;
  const auto add = [&](const fs::path& path) {
    files.push_back({fs::relative(path, root).generic_string(), read_file(path.string())});
  };
  for (const std::string& folder : folders) {
    if (fs::is_regular_file(root / folder)) add(root / folder);
    if (!fs::is_directory(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && has_extension(entry.path(), extensions)) add(entry.path());
    }
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::string code_of(std::string_view text) {
  std::string code(text);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = end_of_blank(text, i);
    blank(code, i, end);
    i = std::max(end, i + 1);
  }
  return code;
}

}  // namespace tw::house
