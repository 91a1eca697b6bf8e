#include "topology/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "topology/check.hpp"

namespace tw {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_json(text, "f.json");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(Json, RefusesWhatTheLibraryWouldTake) {
  EXPECT_EQ(error_of(R"({"a": 1, "b": {"c": 1, "c": 2}})"), "f.json: duplicate key c");
  EXPECT_EQ(error_of(R"({"a": {"k": 1}, "b": {"k": 2}})"), "accepted");  // different objects
  EXPECT_EQ(error_of("[12345678901234567890]"), "f.json: a number outside int64");
  EXPECT_EQ(error_of("[-12345678901234567890]"), "f.json: a number outside int64");
  EXPECT_EQ(error_of("[9223372036854775807, -9223372036854775808]"), "accepted");
  EXPECT_EQ(error_of(nested(64)), "accepted");
  EXPECT_EQ(error_of(nested(65)), "f.json: nested deeper than 64 levels");
  EXPECT_EQ(error_of(nested(200000)), "f.json: nested deeper than 64 levels");
}

TEST(Json, RefusesBrokenTextInOneLine) {
  for (const std::string text :
       {"", "{", "[1,", "{\"a\":}", "nul", "[1] 2", "\"\x01\"", "{\"a\" 1}", "[1e999]"}) {
    EXPECT_THAT(error_of(text), testing::StartsWith("f.json: not valid JSON: ")) << text;
    EXPECT_EQ(error_of(text).find('\n'), std::string::npos);
  }
  EXPECT_EQ(error_of("\"\xff\""), "f.json: not UTF-8 text");
  EXPECT_EQ(error_of("\"\xed\xa0\x80\""), "f.json: not UTF-8 text");  // a surrogate half
  EXPECT_EQ(error_of("\"\xc0\xaf\""), "f.json: not UTF-8 text");      // an overlong slash
}

TEST(Json, NodesKnowTheirPath) {
  const JsonView root = parse_json(R"({"a": [{"b": 1.5}], "n": null})", "f.json");
  EXPECT_EQ(root.at("a")[0].at("b").number(), 1.5);
  EXPECT_FALSE(root.find("n"));
  try {
    root.at("a")[0].at("b").integer();
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "f.json: a[0].b: must be a whole number, is 1.5");
  }
}

TEST(Json, DirectoryAndAbsentFileAreNamed) {
  EXPECT_THROW(load_json(testing::TempDir()), InputError);
  try {
    load_json(testing::TempDir());
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("cannot read: is a directory"));
  }
  EXPECT_THROW(load_json(testing::TempDir() + "no/such/file.json"), InputError);
}

TEST(Json, WritesInOrderAndWholly) {
  const std::string folder = testing::TempDir() + "json_test_folder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  const Json value = Json::object().set("z", 1).set("a", Json::array().push(true).push("x\xff"));
  write_file(folder + "/out.json", value.dump(-1));
  EXPECT_EQ(read_file(folder + "/out.json"), "{\"z\":1,\"a\":[true,\"x\\\\xff\"]}");
  EXPECT_THROW(write_file(folder + "/absent/out.json", "x"), InputError);
  EXPECT_THROW(write_file(folder, "x"), InputError);  // a folder is in the way
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++files;
  EXPECT_EQ(files, 1u);  // no temporary file stays behind
}

TEST(Printable, EscapesControlCharactersAndBadUtf8) {
  EXPECT_EQ(printable("plain \xc3\xa9"), "plain \xc3\xa9");
  EXPECT_EQ(printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(Printable, InputErrorIsOneLine) {
  const InputError error("bad\nfile", "a\tb", "message");
  EXPECT_STREQ(error.what(), "bad\\x0afile: a\\x09b: message");
}

TEST(Json, PointersNameOneNode) {
  const JsonView root = parse_json(R"({"a": {"b": [10, {"c": "x"}]}})", "f.json");
  EXPECT_EQ(at_pointer(root, "/a/b/0").integer(), 10);
  EXPECT_EQ(at_pointer(root, "/a/b/1/c").string(), "x");
  EXPECT_TRUE(at_pointer(root, "").is_object());
  for (const char* wrong : {"a", "/b", "/a/b/2", "/a/b/x", "/a/b/-1", "/a/b/0/c"})
    EXPECT_THROW(at_pointer(root, wrong), InputError) << wrong;
}

TEST(Json, ReplacedLeavesTheOriginal) {
  const JsonView root = parse_json(R"({"a": [1, 2]})", "f.json");
  const JsonView other = replaced(root, "/a/1", Json("two"));
  EXPECT_EQ(other.dump(), R"({"a":[1,"two"]})");
  EXPECT_EQ(other.file(), "f.json");
  EXPECT_EQ(root.dump(), R"({"a":[1,2]})");
  EXPECT_THROW(replaced(root, "/b", Json(1)), InputError);
}

TEST(Json, OverlaidChangesMembersOfMembers) {
  const JsonView base = parse_json(R"({"a": {"b": 1, "c": 2}, "d": [1, 2]})", "base.json");
  const JsonView both = overlaid(base, parse_json(R"({"a": {"c": 3}, "d": [4], "e": 5})", "changes.json"));
  EXPECT_EQ(both.dump(), R"({"a":{"b":1,"c":3},"d":[4],"e":5})");
  EXPECT_EQ(both.file(), "changes.json");
  EXPECT_EQ(base.at("a").at("c").integer(), 2);
}

}  // namespace
}  // namespace tw
