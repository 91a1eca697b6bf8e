#include "topology/json.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "topology/check.hpp"
#include "topology/utf8.hpp"

namespace tw {

using Ordered = nlohmann::ordered_json;

struct Json::Value {
  Ordered json;
};

Json::Json() : value_(std::make_unique<Value>()) {}
Json::Json(bool value) : value_(new Value{Ordered(value)}) {}
Json::Json(std::int64_t value) : value_(new Value{Ordered(value)}) {}
Json::Json(double value) : value_(new Value{std::isfinite(value) ? Ordered(value) : Ordered(nullptr)}) {}
Json::Json(std::string_view value)
    : value_(new Value{Ordered(is_utf8(value) ? std::string(value) : printable(value, value.size()))}) {}
Json::Json(const Json& other) : value_(new Value(*other.value_)) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(Json other) noexcept {
  value_ = std::move(other.value_);
  return *this;
}
Json::~Json() = default;

Json Json::object() {
  Json out;
  out.value_->json = Ordered::object();
  return out;
}

Json Json::array() {
  Json out;
  out.value_->json = Ordered::array();
  return out;
}

Json Json::parsed(std::string_view text) {
  Json out;
  out.value_->json = Ordered::parse(text, nullptr, false);
  TW_CHECK(!out.value_->json.is_discarded());
  return out;
}

Json& Json::set(std::string_view key, Json value) {
  value_->json[is_utf8(key) ? std::string(key) : printable(key, key.size())] = std::move(value.value_->json);
  return *this;
}

Json& Json::push(Json value) {
  value_->json.push_back(std::move(value.value_->json));
  return *this;
}

std::string Json::dump(int indent) const {
  return value_->json.dump(indent);
}

struct JsonDocument {
  Ordered root;
  std::string file;
};

namespace {

const Ordered& as_json(const void* node) {
  return *static_cast<const Ordered*>(node);
}

constexpr int kMaxDepth = 64;

// Refuses while parsing what the library would accept and we cannot: see the header.
class StrictParser {
 public:
  explicit StrictParser(std::string_view file) : file_(file) {}

  bool operator()(int depth, Ordered::parse_event_t event, Ordered& parsed) {
    using Event = Ordered::parse_event_t;
    const bool opens = event == Event::object_start || event == Event::array_start;
    if (opens && depth >= kMaxDepth) throw InputError(file_, "", "nested deeper than 64 levels");
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key && !keys_.back().insert(parsed.get<std::string>()).second) {
      throw InputError(file_, "", "duplicate key " + printable(parsed.get<std::string>()));
    }
    if (event == Event::value) check_number(parsed);
    return true;
  }

 private:
  void check_number(const Ordered& value) const {
    const bool beyond_int64 =
        value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
    const bool whole_but_float = value.is_number_float() && std::abs(value.get<double>()) >= 9.2e18;
    if (beyond_int64 || whole_but_float) throw InputError(file_, "", "a number outside int64");
  }

  std::string file_;
  std::vector<std::set<std::string>> keys_;
};

std::string first_reason(const std::string& what) {
  const std::size_t colon = what.rfind("] ");
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

[[noreturn]] void fail_io(const std::string& path, const char* action) {
  throw InputError(path, "", std::string("cannot ") + action + ": " + std::strerror(errno));
}

}  // namespace

JsonView::JsonView(std::shared_ptr<const JsonDocument> document, const void* node, std::string path)
    : document_(std::move(document)), node_(node), path_(std::move(path)) {}

bool JsonView::is_null() const {
  return as_json(node_).is_null();
}
bool JsonView::is_bool() const {
  return as_json(node_).is_boolean();
}
bool JsonView::is_number() const {
  return as_json(node_).is_number();
}
bool JsonView::is_integer() const {
  return as_json(node_).is_number_integer();
}
bool JsonView::is_string() const {
  return as_json(node_).is_string();
}
bool JsonView::is_array() const {
  return as_json(node_).is_array();
}
bool JsonView::is_object() const {
  return as_json(node_).is_object();
}

void JsonView::expect(bool right, const char* type) const {
  if (!right) fail(std::string("must be ") + type + ", is " + printable(dump()));
}

bool JsonView::boolean() const {
  expect(is_bool(), "true or false");
  return as_json(node_).get<bool>();
}

std::int64_t JsonView::integer() const {
  expect(is_integer(), "a whole number");
  return as_json(node_).get<std::int64_t>();
}

double JsonView::number() const {
  expect(is_number(), "a number");
  return as_json(node_).get<double>();
}

std::string JsonView::string() const {
  expect(is_string(), "a string");
  return as_json(node_).get<std::string>();
}

std::size_t JsonView::size() const {
  return as_json(node_).size();
}

JsonView JsonView::operator[](std::size_t i) const {
  expect(is_array(), "a list");
  return {document_, &as_json(node_).at(i), path_ + "[" + std::to_string(i) + "]"};
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  expect(is_object(), "an object");
  const auto found = as_json(node_).find(std::string(key));
  if (found == as_json(node_).end() || found->is_null()) return std::nullopt;
  return JsonView(document_, &*found, path_.empty() ? std::string(key) : path_ + "." + std::string(key));
}

JsonView JsonView::at(std::string_view key) const {
  auto found = find(key);
  if (!found) fail("missing key \"" + std::string(key) + "\"");
  return *found;
}

std::vector<std::string> JsonView::keys() const {
  expect(is_object(), "an object");
  std::vector<std::string> out;
  for (const auto& [key, value] : as_json(node_).items()) out.push_back(key);
  return out;
}

std::string JsonView::dump() const {
  return as_json(node_).dump();
}
const std::string& JsonView::file() const {
  return document_->file;
}
void JsonView::fail(std::string_view message) const {
  throw InputError(document_->file, path_, message);
}

JsonView parse_json(std::string_view text, std::string_view file) {
  if (!is_utf8(text)) throw InputError(file, "", "not UTF-8 text");
  auto document = std::make_shared<JsonDocument>();
  document->file = std::string(file);
  StrictParser strict(file);
  try {
    document->root = Ordered::parse(text, std::ref(strict));
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file, "", "not valid JSON: " + printable(first_reason(error.what()), 160));
  }
  return {document, &document->root, ""};
}

JsonView load_json(const std::string& path) {
  return parse_json(read_file(path), path);
}

JsonView at_pointer(const JsonView& root, std::string_view pointer) {
  JsonView node = root;
  while (!pointer.empty()) {
    if (pointer.front() != '/') root.fail("a JSON pointer starts with /");
    pointer.remove_prefix(1);
    const std::string key(pointer.substr(0, pointer.find('/')));
    pointer.remove_prefix(key.size());
    if (!node.is_array()) {
      node = node.at(key);
      continue;
    }
    const bool number = !key.empty() && key.size() < 9 &&
                        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number || std::stoul(key) >= node.size()) node.fail("no element " + printable(key));
    node = node[std::stoul(key)];
  }
  return node;
}

JsonView replaced(const JsonView& root, std::string_view pointer, const Json& value) {
  at_pointer(root, pointer);
  auto document = std::make_shared<JsonDocument>(*root.document_);
  document->root.at(Ordered::json_pointer(std::string(pointer))) = value.value_->json;
  return {document, &document->root, ""};
}

JsonView overlaid(const JsonView& base, const JsonView& changes) {
  auto document = std::make_shared<JsonDocument>();
  document->file = changes.file();
  document->root = as_json(base.node_);
  document->root.merge_patch(as_json(changes.node_));
  return {document, &document->root, ""};
}

std::string read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_io(path, "read");
  struct stat info {};
  std::string text;
  char buffer[1 << 16];
  ssize_t got = ::fstat(fd, &info);
  if (got == 0 && S_ISDIR(info.st_mode)) {
    ::close(fd);
    throw InputError(path, "", "cannot read: is a directory");
  }
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<std::size_t>(got));
  const int error = errno;
  ::close(fd);
  errno = error;
  if (got < 0) fail_io(path, "read");
  return text;
}

void write_file(const std::string& path, std::string_view text) {
  std::string temporary = path + ".XXXXXX";
  const int fd = ::mkstemp(temporary.data());
  if (fd < 0) fail_io(path, "write");
  const auto give_up = [&] {
    const int error = errno;
    ::unlink(temporary.c_str());
    errno = error;
    fail_io(path, "write");
  };
  const mode_t mask = ::umask(0);
  ::umask(mask);
  bool good = ::fchmod(fd, static_cast<mode_t>(0666) & ~mask) == 0;
  for (std::size_t done = 0; good && done < text.size();) {
    const ssize_t wrote = ::write(fd, text.data() + done, text.size() - done);
    good = wrote > 0;
    if (good) done += static_cast<std::size_t>(wrote);
  }
  good = (::fsync(fd) == 0) && good;
  good = (::close(fd) == 0) && good;
  if (!good || ::rename(temporary.c_str(), path.c_str()) != 0) give_up();
}

}  // namespace tw
