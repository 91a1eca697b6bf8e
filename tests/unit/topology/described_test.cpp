#include "topology/described.hpp"

#include <gtest/gtest.h>

#include <array>

#include "topology/check.hpp"

namespace tw {
namespace {

enum class Colour : std::uint8_t { red, green };
constexpr auto enum_names(const Colour*) {
  return std::array<std::pair<Colour, std::string_view>, 2>{{{Colour::red, "red"}, {Colour::green, "green"}}};
}

struct Inner {
  Bytes size;
  friend bool operator==(const Inner&, const Inner&) = default;
};
TW_DESCRIBE(Inner, size);

struct Outer {
  std::int32_t count = 0;
  Colour colour = Colour::red;
  std::vector<Inner> parts;
  std::map<std::string, Seconds> times;
  std::optional<bool> flag;
  Defaulted<double> factor{2.5};
  friend bool operator==(const Outer&, const Outer&) = default;
};
TW_DESCRIBE(Outer, count, colour, parts, times, flag, factor);

Outer parse(const std::string& text) {
  return read<Outer>(parse_json(text, "f.json"));
}

std::string error_of(const std::string& text) {
  try {
    parse(text);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Described, ReadsEveryKindOfField) {
  const Outer outer = parse(
      R"({"count": 3, "colour": "green", "parts": [{"size": "1 KiB"}], "times": {"a": "2 us"}, "flag": true})");
  const Outer expected{3, Colour::green, {{Bytes(1024)}}, {{"a", Seconds(2e-6)}}, true, 2.5};
  EXPECT_EQ(outer, expected);
}

TEST(Described, ReadsBackWhatItWrites) {
  const Outer plain{-7, Colour::red, {{Bytes(0)}, {Bytes(12345)}}, {{"b", Seconds(0)}}, std::nullopt, 0.1};
  EXPECT_EQ(parse(to_json(plain).dump()), plain);
  Outer flagged = plain;
  flagged.flag = false;
  EXPECT_EQ(parse(to_json(flagged).dump(-1)), flagged);
}

TEST(Described, RefusesWithPathAndWhatIsLegal) {
  const std::string rest = R"("parts": [], "times": {})";
  EXPECT_EQ(error_of(R"({"colour": "red", )" + rest + "}"), "f.json: missing key \"count\"");
  EXPECT_EQ(error_of(R"({"count": null, "colour": "red", )" + rest + "}"), "f.json: missing key \"count\"");
  EXPECT_EQ(error_of(R"({"count": 1, "colour": "red", "size": 1, )" + rest + "}"),
            "f.json: unknown key \"size\"; legal keys: count, colour, parts, times, flag, factor");
  EXPECT_EQ(error_of(R"({"count": 1, "colour": "blue", )" + rest + "}"),
            "f.json: colour: unknown value \"blue\"; legal: red, green");
  EXPECT_EQ(error_of(R"({"count": 3000000000, "colour": "red", )" + rest + "}"),
            "f.json: count: out of range");
  EXPECT_EQ(error_of(R"({"count": 1, "colour": "red", "parts": [{"size": 0}], "times": {}})"),
            "f.json: parts[0].size: a bare number; write a string with a unit");
  EXPECT_EQ(error_of(R"({"count": 1, "colour": "red", "parts": {}, "times": {}})"),
            "f.json: parts: must be a list");
  EXPECT_EQ(error_of("[]"), "f.json: must be an object, is []");
}

}  // namespace
}  // namespace tw
