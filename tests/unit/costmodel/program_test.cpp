// A Program against what the cost says of the same layout, and against derivations by hand.
#include "costmodel/program/program.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/small_models.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

LayerWork work_of(const Model& model, std::string_view layout, std::int32_t gpus, std::int32_t seq) {
  const Profile profile = load_profile("trainwright");
  const EmitInput input{.model = &model,
                        .profile = &profile,
                        .key = pass_key(parse_layout(layout, gpus)),
                        .seq = seq,
                        .routing = {},
                        .operands = true};
  return emit_layer(input, model.kinds[0]);
}

// What the forward makes, or gets, and the backward reads.
std::int64_t read_by_backward(const LayerWork& work) {
  std::set<std::int16_t> before = {work.operands.input}, kept;
  for (const Operands& op : work.operands.forward) before.insert(op.writes.begin(), op.writes.end());
  for (const Operands& op : work.operands.backward) {
    for (const std::int16_t value : op.reads) {
      if (before.count(value) > 0) kept.insert(value);
    }
  }
  std::int64_t bytes = 0;
  for (const std::int16_t value : kept) {
    if (value >= 0) bytes += work.operands.values[static_cast<std::size_t>(value)].bytes();
  }
  return bytes;
}

constexpr std::string_view kLayouts[] = {"tp=1",
                                         "tp=2,sp=1",
                                         "tp=4,sp=0",
                                         "tp=2,sp=1,cp=2,cp_kind=ring",
                                         "cp=4,cp_kind=a2a",
                                         "tp=2,sp=1,recompute=full",
                                         "tp=2,sp=1,recompute=selective",
                                         "tp=1,recompute=norm",
                                         "tp=2,sp=1,recompute=mlp",
                                         "tp=2,sp=1,recompute=attention+mlp+norm"};

// The memory of the cost is the memory of the run: what the rules of the tape keep is what the
// operations of the backward read.
TEST(Operands, TheBackwardReadsWhatTheCostKeeps) {
  for (const char* name : {"llama-3.1-8b", "qwen3-30b-a3b", "mixtral-8x7b"}) {
    const Model model = load_model(name);
    for (const std::string_view layout : kLayouts) {
      const LayerWork work = work_of(model, layout, 8, 4096);
      const std::int64_t balance = [&] {
        std::int64_t bytes = 0;
        for (const Value& value : work.operands.values) bytes += value.name == "balance" ? value.bytes() : 0;
        return bytes;
      }();
      EXPECT_EQ(read_by_backward(work) - balance, work.kept_bytes) << name << " " << layout;
    }
  }
}

// Single assignment, and no operation reads what is not there yet.
TEST(Operands, AreInSingleAssignment) {
  for (const char* name : {"llama-3.1-8b", "qwen3-30b-a3b"}) {
    const Model model = load_model(name);
    for (const std::string_view layout : kLayouts) {
      const LayerWork work = work_of(model, layout, 8, 4096);
      ASSERT_EQ(work.operands.forward.size(), work.forward.size());
      ASSERT_EQ(work.operands.backward.size(), work.backward.size());
      std::set<std::int16_t> made = {work.operands.input, work.operands.output_gradient};
      for (const OperandList* list : {&work.operands.forward, &work.operands.backward}) {
        for (const Operands& op : *list) {
          for (const std::int16_t value : op.reads)
            EXPECT_TRUE(made.count(value) > 0)
                << name << " " << layout << " " << to_string(op, work.operands);
          for (const std::int16_t value : op.writes)
            EXPECT_TRUE(made.insert(value).second) << name << " " << layout << " " << name_of(op.what);
        }
      }
      EXPECT_TRUE(made.count(work.operands.input_gradient) > 0);
    }
  }
}

ProgramInput input_of(const char* model, std::string_view layout, std::int32_t gpus, std::int64_t batch,
                      std::int32_t seq) {
  ProgramInput input;
  input.model = load_model(model);
  input.profile = load_profile("trainwright");
  input.layout = parse_layout(layout, gpus);
  input.job.gpus = gpus, input.job.global_batch = batch, input.job.seq = seq;
  return input;
}

// Two stages of 1F1B with three micro-batches. Stage 0: F0 F1 B0 F2 B1 B2, stage 1: F0 B0 F1 B1 F2 B2
// (Narayanan et al. 2021, figure 4): sends and receives in that order.
TEST(Program, SendsAndReceivesFollowTheSlots) {
  const Program program(input_of("llama-3.2-1b", "pp=2", 2, 3, 512));
  const auto moves = [&](std::int32_t stage) {
    std::string out;
    for (const Step& step : program.steps(stage)) {
      if (step.action != Action::send && step.action != Action::receive) continue;
      out += step.action == Action::send ? "S" : "R";
      out += step.backward ? "b" : "f";
      out += std::to_string(step.microbatch) + " ";
    }
    return out;
  };
  EXPECT_EQ(moves(0), "Sf0 Sf1 Rb0 Sf2 Rb1 Rb2 ");
  EXPECT_EQ(moves(1), "Rf0 Sb0 Rf1 Sb1 Rf2 Sb2 ");
}

// llama-3.2-1b ties its embedding: with two stages the last one holds a second table, and the two sum
// their gradients.
TEST(Program, ATiedHeadOnAnotherStageHoldsATable) {
  const Program program(input_of("llama-3.2-1b", "pp=2", 2, 2, 512));
  const std::span<const Unit> last = program.units(1);
  ASSERT_TRUE(last.back().table_only);
  EXPECT_EQ(program.tied_unit(0), 0);
  EXPECT_EQ(program.tied_unit(1), static_cast<std::int32_t>(last.size()) - 1);
  const std::vector<Program::Copy> both = {{0, 0}, {1, static_cast<std::int32_t>(last.size()) - 1}};
  EXPECT_EQ(program.copies(0, 0), both);
}

// 8 KV heads of 128 over tp 16 are copied to two ranks each; q is cut. Rank 5 of tp: q heads 10 and 11,
// KV head 5/2 = 2. Rows of the whole: 32 heads of q, then 8 of k, then 8 of v.
TEST(Program, APartOfAWeightFollowsItsHeads) {
  const Program program(input_of("llama-3.1-8b", "tp=16,sp=1", 16, 1, 512));
  const LayerWork& work = *program.units(0)[1].work;
  const WeightPart part = program.part(Rank(5), work.weights[1]);
  EXPECT_EQ(part.rows, 48 * 128);
  ASSERT_EQ(part.row.size(), 3u);
  EXPECT_EQ(part.row[0].first, 10 * 128);
  EXPECT_EQ(part.row[0].count, 2 * 128);
  EXPECT_EQ(part.row[1].first, (32 + 2) * 128);
  EXPECT_EQ(part.row[1].count, 128);
  EXPECT_EQ(part.row[2].first, (40 + 2) * 128);
  EXPECT_EQ(part.row[2].local, 3 * 128);
  EXPECT_EQ(part.local_elements(), work.weights[1].local);
}

// Zigzag over 2 ranks of 8 tokens: pieces of two, rank 0 has the first and the last.
TEST(Program, ZigzagTags) {
  const Program program(input_of("llama-3.1-8b", "cp=2,mb=2", 2, 2, 8));
  std::string text;
  for (const RowTag& tag : program.tags(Rank(0)))
    text += std::to_string(tag.sequence) + ":" + std::to_string(tag.position) + " ";
  EXPECT_EQ(text, "0:0 0:1 0:6 0:7 1:0 1:1 1:6 1:7 ");
}

// The modules that predict further tokens are priced and weighed, but no unit holds them.
TEST(Program, RefusesMultiTokenPrediction) {
  Model model = small_model(false, 2);
  model.mtp_layers = 1;
  EXPECT_THROW(Program(small_input(model, "dp=1", 1, 1)), InputError);
}

// How tokens travel between ranks of ep changes what they cost, and nothing in what is done.
TEST(Program, TheKindOfDispatchChangesNoOperation) {
  const Model model = load_model("mixtral-8x7b");
  const LayerWork direct = work_of(model, "dp=8,ep=8", 8, 512);
  for (const char* kind : {"two-level", "rail", "dedup"}) {
    const LayerWork other = work_of(model, std::string("dp=8,ep=8,a2a=") + kind, 8, 512);
    EXPECT_EQ(to_string(other.forward), to_string(direct.forward)) << kind;
    EXPECT_EQ(to_string(other.backward), to_string(direct.backward)) << kind;
    for (std::size_t i = 0; i < direct.operands.forward.size(); ++i)
      EXPECT_EQ(to_string(other.operands.forward[i], other.operands),
                to_string(direct.operands.forward[i], direct.operands));
    for (std::size_t i = 0; i < direct.operands.backward.size(); ++i)
      EXPECT_EQ(to_string(other.operands.backward[i], other.operands),
                to_string(direct.operands.backward[i], direct.operands));
  }
}

// 128 entries padded to 128 on each of two ranks: the first holds all, the second none of them. A
// weight that is not cut has as many local rows as there are, and is whole on both.
TEST(Program, PaddingLeavesTheLastRankNoRowOfTheVocabulary) {
  ProgramInput input;
  input.model = load_model("llama-3.1-8b");
  input.model.vocab = 128;
  input.profile = load_profile("trainwright");
  input.profile.kernels.vocab_multiple = 128;
  input.layout = parse_layout("tp=2", 2);
  input.job.gpus = 2, input.job.global_batch = 1, input.job.seq = 128;
  const Program program(input);
  const Weight& table = program.units(0).front().work->weights.front();
  const Extent first = program.part(Rank(0), table).row[0], second = program.part(Rank(1), table).row[0];
  EXPECT_EQ(first.first, 0);
  EXPECT_EQ(first.count, 128);
  EXPECT_EQ(second.first, 128);
  EXPECT_EQ(second.count, 0);
  EXPECT_EQ(second.room, 128);
  const Weight& norm = program.units(0)[1].work->weights.front();
  EXPECT_EQ(norm.name, "norm");
  EXPECT_EQ(program.part(Rank(1), norm).row[0].first, 0);
  EXPECT_EQ(program.part(Rank(1), norm).row[0].count, norm.rows[0].distinct);
}

}  // namespace
}  // namespace tw
