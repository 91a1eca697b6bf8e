// Tokens: the pattern, and the bytes of a file.
#include "train/data.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::train {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& path, std::int32_t vocab) {
  try {
    Data::bytes_of(path, vocab, 4);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string file_with(const std::string& text) {
  const std::string path = testing::TempDir() + "trainwright-data";
  write_file(path, text);
  return path;
}

// A sequence runs upwards by 1, 2 or 3 modulo the vocabulary; one token in eight is another. So of all
// neighbours about (7/8)^2 = 77 % are one step apart: the rest has a noisy end.
TEST(Pattern, MostNeighboursAreOneStepApart) {
  constexpr std::int32_t kVocab = 60, kSequences = 200, kSeq = 64;
  const Data data = Data::pattern(7, kVocab);
  int regular = 0;
  std::set<int> steps;
  for (std::int32_t s = 0; s < kSequences; ++s) {
    int most = 0;
    for (int step = 1; step <= 3; ++step) {
      int count = 0;
      for (std::int32_t i = 0; i + 1 < kSeq; ++i)
        count += (data.token(s, i) + step) % kVocab == data.token(s, i + 1) ? 1 : 0;
      if (count > most) most = count, steps.insert(step);
    }
    regular += most;
  }
  EXPECT_NEAR(regular / double(kSequences * (kSeq - 1)), 0.77, 0.02);
  EXPECT_EQ(steps, (std::set<int>{1, 2, 3}));
}

TEST(Pattern, TokensLieInTheVocabularyAndFollowTheSeed) {
  const Data a = Data::pattern(1, 60), same = Data::pattern(1, 60), other = Data::pattern(2, 60);
  int apart = 0;
  std::set<std::int32_t> seen;
  for (std::int64_t s = 0; s < 64; ++s) {
    for (std::int32_t i = 0; i <= 32; ++i) {
      const std::int32_t token = a.token(s, i);
      seen.insert(token);
      ASSERT_TRUE(token >= 0 && token < 60);
      ASSERT_EQ(token, same.token(s, i));
      apart += token != other.token(s, i) ? 1 : 0;
    }
  }
  EXPECT_EQ(seen.size(), 60u);
  EXPECT_GT(apart, 64 * 33 * 9 / 10);
}

// 60 starts and 3 steps make 180 regular sequences; (7/8)^16 = 12 % of all have no noise: of 1000, 120
// draws from 180, of which 120 - 180 (1 - exp(-120/180)) = 32 repeat another.
TEST(Pattern, SequencesRepeatAsOftenAsTheyMust) {
  const Data data = Data::pattern(1, 60);
  std::set<std::vector<std::int32_t>> seen;
  for (std::int64_t s = 0; s < 1000; ++s) {
    std::vector<std::int32_t> tokens;
    for (std::int32_t i = 0; i < 16; ++i) tokens.push_back(data.token(s, i));
    seen.insert(tokens);
  }
  EXPECT_NEAR(static_cast<double>(seen.size()), 1000 - 32, 15);
}

// Sequences of 4 lie one after the other; what the last token should predict is the next sequence's
// first; at the end of the file it begins again.
TEST(Bytes, SequencesLieOneAfterTheOther) {
  const Data data = Data::bytes_of(file_with("abcdefghij"), 256, 4);
  EXPECT_EQ(data.token(0, 0), 'a');
  EXPECT_EQ(data.token(0, 4), 'e');
  EXPECT_EQ(data.token(1, 0), 'e');
  EXPECT_EQ(data.token(2, 1), 'j');
  EXPECT_EQ(data.token(2, 2), 'a');
  EXPECT_EQ(data.token(5, 3), 'd');
}

TEST(Bytes, EachRefusalIsNamed) {
  EXPECT_THAT(refusal(testing::TempDir() + "trainwright-no-such-file", 256), HasSubstr("cannot be read"));
  EXPECT_THAT(refusal(file_with(""), 256), HasSubstr("is empty"));
  EXPECT_THAT(refusal(file_with("abc\x80"), 128), HasSubstr("bytes that the vocabulary has no token for"));
  EXPECT_EQ(refusal(file_with("abc\x7f"), 128), "");
}

TEST(Data, NamesSayWhichTokensTheseAre) {
  EXPECT_EQ(Data::pattern(3, 60).name(), "pattern 3 of 60");
  const std::string a = Data::bytes_of(file_with("abc"), 256, 4).name();
  const std::string b = Data::bytes_of(file_with("abd"), 256, 4).name();
  EXPECT_THAT(a, testing::StartsWith("3 bytes, hash "));
  EXPECT_NE(a, b);
  EXPECT_EQ(a, Data::bytes_of(file_with("abc"), 256, 4).name());
}

}  // namespace
}  // namespace tw::train
