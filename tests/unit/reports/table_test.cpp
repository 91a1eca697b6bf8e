// Tables: alignment, what goes first when it is narrow, wrapping.
#include "reports/table.hpp"

#include <gtest/gtest.h>

#include "reports/text.hpp"

namespace tw {
namespace {

Table sample() {
  Table table({{"name", Align::left}, {"size"}, {"note", Align::left, 1}, {"more", Align::left, 2}});
  table.row({"a", "1", "x", "yy"});
  table.row({"long", "1000", "z", ""});
  return table;
}

TEST(Table, AlignsColumnsTwoApart) {
  EXPECT_EQ(sample().text(0),
            "name  size  note  more\n"
            "a        1  x     yy\n"
            "long  1000  z\n");
}

// Widths 4, 4, 4, 4 with gaps of 2: 22 in all, 16 without one, 10 without two.
TEST(Table, DropsTheLeastImportantColumnsFirst) {
  EXPECT_EQ(sample().text(22), sample().text(0));
  EXPECT_EQ(sample().text(21),
            "name  size  note\n"
            "a        1  x\n"
            "long  1000  z\n");
  EXPECT_EQ(sample().text(15), "name  size\na        1\nlong  1000\n");
  EXPECT_EQ(sample().text(3), sample().text(15)) << "what must be shown is shown";
}

TEST(Table, CountsCharactersNotBytes) {
  Table table({{"é"}, {"b"}});
  table.row({"1", "2"});
  EXPECT_EQ(table.text(0), "é  b\n1  2\n");
}

TEST(Wrapped, BreaksAtSpacesAndCommas) {
  EXPECT_EQ(wrapped("one two three", 0, 2), "one two three\n");
  EXPECT_EQ(wrapped("one two three", 13, 2), "one two three\n");
  EXPECT_EQ(wrapped("one two three four", 14, 2), "one two three\n  four\n");
  EXPECT_EQ(wrapped("dp=8,tp=4,pp=2,cp=1", 12, 2), "dp=8,tp=4,\n  pp=2,cp=1\n");
}

TEST(Numbers, ReadLikeAPersonWritesThem) {
  EXPECT_EQ(seconds_text(0.000125), "0.12 ms");
  EXPECT_EQ(seconds_text(0.0125), "12 ms");
  EXPECT_EQ(seconds_text(12.345), "12.35 s");
  EXPECT_EQ(seconds_text(1234.5), "1234 s");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(gib_text(std::int64_t{3} << 29), "1.5 GiB");
}

}  // namespace
}  // namespace tw
