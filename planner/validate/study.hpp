// Studies: questions that published ablations answer, as data (scenarios/studies/NAME.json): what is
// compared, what was measured, which is better. Read here; study_cases.hpp predicts every case.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/loss_kernels.hpp"
#include "costmodel/training.hpp"
#include "topology/described.hpp"

namespace tw::validate {

// What is compared, and whether more of it is better.
enum class Quantity : std::uint8_t { unique_tokens, tokens, mfu, time, memory, fits };
constexpr auto enum_names(const Quantity*) {
  return std::array<std::pair<Quantity, std::string_view>, 6>{
      {{Quantity::unique_tokens, "unique_tokens_per_s"},
       {Quantity::tokens, "tokens_per_s"},
       {Quantity::mfu, "mfu"},
       {Quantity::time, "time"},
       {Quantity::memory, "memory"},
       {Quantity::fits, "fits"}}};
}

// One training step, through the path of `trainwright predict`.
struct StepCase {
  std::string model, cluster, framework, layout;
  std::int64_t global_batch = 0;
  std::int32_t seq = 0;
  Defaulted<double> capacity_factor{0};  // of routed layers; 0: dropless
  Defaulted<std::int32_t> vocab{0};      // where the run changed the model's; 0: as it is
  Defaulted<Training> training;
  std::optional<JsonView> mechanisms;  // of the framework's profile, changed for this case
};
TW_DESCRIBE(StepCase, model, cluster, framework, layout, global_batch, seq, capacity_factor, vocab, training,
            mechanisms);

// Attention alone over a ring of ranks, forward and backward. Beside the kernels, PyTorch merges blocks
// of the context and adds up gradients: bytes of one element of q and block, read and written.
struct RingCase {
  std::string cluster, framework, layout;
  std::int32_t heads = 0, head_dim = 0, seq = 0;
  Defaulted<double> merge_bytes{0};
  std::optional<JsonView> mechanisms;
};
TW_DESCRIBE(RingCase, cluster, framework, layout, heads, head_dim, seq, merge_bytes, mechanisms);

// A loss kernel alone, in PyTorch: peak memory; `others`: tensors that the script keeps beside.
struct LossCase {
  LossKernel kernel = LossKernel::whole;
  std::int64_t rows = 0, hidden = 0, vocab = 0;
  Defaulted<std::int64_t> chunk{0};
  bool backward = false;
  Bytes workspace;
  Defaulted<Bytes> others;
};
TW_DESCRIBE(LossCase, kernel, rows, hidden, vocab, chunk, backward, workspace, others);

// Tensors alive at the peak of a script, as it makes them.
struct Held {
  std::string what;
  std::int64_t rows = 0, columns = 0, bytes = 0;  // of one element
  Defaulted<std::int64_t> times{1};
};
TW_DESCRIBE(Held, what, rows, columns, bytes, times);

struct Figures {
  std::optional<double> tokens_per_s, unique_tokens_per_s, mfu;
  std::optional<Seconds> time;
  std::optional<Bytes> memory;
  std::optional<bool> fits;
};
TW_DESCRIBE(Figures, tokens_per_s, unique_tokens_per_s, mfu, time, memory, fits);

struct StudyCase {
  std::string name;
  std::optional<StepCase> step;
  std::optional<RingCase> ring;
  std::optional<LossCase> loss;
  std::optional<std::vector<Held>> tensors;
  Figures measured;
  Defaulted<std::string> from;  // of the figure: the run in the source
};
TW_DESCRIBE(StudyCase, name, step, ring, loss, tensors, measured, from);

struct Ablation {
  std::string question;
  Quantity compare = Quantity::unique_tokens;
  std::string better;           // the case that was measured best; of `fits`: empty
  double doubt = 0;             // relative: figures nearer than this do not order two cases
  Defaulted<double> within{0};  // the error a figure may have to count as right; 0: any
  std::vector<StudyCase> cases;
  std::vector<std::string> source;
  std::string name;  // filled by load_study
};
TW_DESCRIBE(Ablation, question, compare, better, doubt, within, cases, source);

Ablation load_study(const std::string& name_or_path);

}  // namespace tw::validate
