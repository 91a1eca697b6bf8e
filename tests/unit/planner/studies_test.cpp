// Studies as data: what a file must hold, and how an answer is judged.
#include <gtest/gtest.h>

#include <filesystem>

#include "planner/validate/study_cases.hpp"
#include "topology/check.hpp"

namespace tw::validate {
namespace {

Held held(std::int64_t rows) {
  return {"rows", rows, 1024, 1024, 1};
}

StudyCase tensors(const char* name, std::int64_t rows, std::int64_t measured) {
  StudyCase out;
  out.name = name;
  out.tensors = std::vector<Held>{held(rows)};
  out.measured.memory = Bytes(measured << 20);
  return out;
}

Ablation memory_study(std::vector<StudyCase> cases) {
  Ablation out;
  out.question = "which?", out.compare = Quantity::memory, out.better = cases.front().name;
  out.doubt = 0.02, out.within = 0.1, out.cases = std::move(cases), out.source = {"test"};
  return out;
}

// Predicted 1, 2 and 4 MiB; measured 1, 2.1 and 4: all three pairs in order, 5% off at most.
TEST(Studies, CountPairsAndErrors) {
  AnsweredStudy a = answer(memory_study({tensors("a", 1, 1), tensors("b", 2, 2), tensors("c", 4, 4)}));
  EXPECT_EQ(a.pairs, 3);
  EXPECT_TRUE(a.right);
  EXPECT_EQ(a.best, "a");
  EXPECT_DOUBLE_EQ(a.predicted_ratio, 4);
  EXPECT_TRUE(*a.accurate);
  // b measured as 8: against c the order is wrong, and b is four times too small.
  a = answer(memory_study({tensors("a", 1, 1), tensors("b", 2, 8), tensors("c", 4, 4)}));
  EXPECT_EQ(a.pairs_right, 2);
  EXPECT_FALSE(a.right);
  EXPECT_FALSE(*a.accurate);
  EXPECT_DOUBLE_EQ(a.worst_error, 0.75);
}

// What the source cannot tell apart is no pair.
TEST(Studies, LeaveOutWhatIsInDoubt) {
  Ablation study = memory_study({tensors("a", 100, 100), tensors("b", 90, 101)});
  EXPECT_EQ(answer(study).pairs, 0);
  study.doubt = 0.005;
  EXPECT_EQ(answer(study).pairs, 1);
  EXPECT_FALSE(answer(study).right);
}

TEST(Studies, RefuseWhatIsMissing) {
  const std::string path = (std::filesystem::path(TW_BINARY_DIR) / "broken_study.json").string();
  const auto study = [&](const std::string& better, const std::string& measured, const std::string& kind) {
    const std::string one = R"({"name": "a", )" + kind + R"(, "measured": {)" + measured + "}}";
    write_file(path, R"({"question": "q", "compare": "memory", "better": ")" + better +
                         R"(", "doubt": 0.1, "source": ["s"], "cases": [)" + one + ", " + one + "]}");
    return load_study(path);
  };
  const std::string memory = R"("memory": "1 MiB")", kind = R"("tensors": [])";
  EXPECT_EQ(study("a", memory, kind).cases.size(), 2u);
  EXPECT_THROW(study("b", memory, kind), InputError);                    // names no case
  EXPECT_THROW(study("a", R"("tokens_per_s": 3)", kind), InputError);    // not what is compared
  EXPECT_THROW(study("a", memory, R"("from": "nothing")"), InputError);  // neither step nor tensors
  EXPECT_THROW(study("a", memory, R"("tensor": [])"), InputError);       // unknown key
}

}  // namespace
}  // namespace tw::validate
