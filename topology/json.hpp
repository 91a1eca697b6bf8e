// JSON in and out without the library's header: a strict parser (depth at most 64, no duplicate
// keys, integers within int64, UTF-8) whose nodes know their file and path, and an ordered writer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tw {

class JsonView;

// A value to write: objects keep the order in which keys were set.
class Json {
 public:
  Json();  // null
  Json(bool value);
  Json(std::int64_t value);
  Json(int value) : Json(static_cast<std::int64_t>(value)) {}
  Json(double value);  // non-finite becomes null
  Json(std::string_view value);
  Json(const std::string& value) : Json(std::string_view(value)) {}
  Json(const char* value) : Json(std::string_view(value)) {}
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json other) noexcept;
  ~Json();

  static Json object();
  static Json array();
  static Json parsed(std::string_view text);    // of text that stands in our source: TW_CHECK that it is JSON
  Json& set(std::string_view key, Json value);  // returns *this, to chain
  Json& push(Json value);
  std::string dump(int indent = 1) const;  // indent < 0: one line

 private:
  friend JsonView replaced(const JsonView&, std::string_view, const Json&);
  struct Value;
  std::unique_ptr<Value> value_;
};

struct JsonDocument;

// One node of a parsed document. Wrong types throw InputError with the file and the node's path.
class JsonView {
 public:
  bool is_null() const;
  bool is_bool() const;
  bool is_number() const;
  bool is_integer() const;
  bool is_string() const;
  bool is_array() const;
  bool is_object() const;

  bool boolean() const;
  std::int64_t integer() const;
  double number() const;
  std::string string() const;

  std::size_t size() const;                                  // of an array or object
  JsonView operator[](std::size_t i) const;                  // of an array
  std::optional<JsonView> find(std::string_view key) const;  // of an object; null counts as absent
  JsonView at(std::string_view key) const;                   // fails if absent
  std::vector<std::string> keys() const;

  std::string dump() const;  // the node as JSON text, one line
  const std::string& file() const;
  const std::string& path() const { return path_; }
  [[noreturn]] void fail(std::string_view message) const;  // InputError at this node

 private:
  friend JsonView parse_json(std::string_view, std::string_view);
  friend JsonView replaced(const JsonView&, std::string_view, const Json&);
  friend JsonView overlaid(const JsonView&, const JsonView&);
  JsonView(std::shared_ptr<const JsonDocument> document, const void* node, std::string path);
  void expect(bool right, const char* type) const;

  std::shared_ptr<const JsonDocument> document_;
  const void* node_;
  std::string path_;
};

// The root of `text`; `file` names it in errors.
JsonView parse_json(std::string_view text, std::string_view file);
JsonView load_json(const std::string& path);
// `base` with the members of `changes`, object by object; errors name the file of `changes`.
JsonView overlaid(const JsonView& base, const JsonView& changes);

// JSON pointers (RFC 6901, without its escapes): "/texts/6/value". Both fail where there is no such node.
JsonView at_pointer(const JsonView& root, std::string_view pointer);
// The document of `root` with the node at `pointer` replaced, in memory.
JsonView replaced(const JsonView& root, std::string_view pointer, const Json& value);

// Files: whole in, and out through a temporary file and a rename, so none is ever half-written.
std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view text);

}  // namespace tw
