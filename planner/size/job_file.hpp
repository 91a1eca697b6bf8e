// A job of several phases (size --job): sequence, batch and its growth, tokens, documents, adapters.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planner/size/phase.hpp"
#include "topology/described.hpp"

namespace tw {

// The batch grows from `from` to the phase's in `parts` equal steps, each for an equal share of the tokens.
struct BatchRamp {
  std::int64_t from = 0;
  std::int32_t parts = 0;
};
TW_DESCRIBE(BatchRamp, from, parts);

// packed: documents fill a sequence one after another, attention stays inside each. padded: each has a
// sequence of its own, filled up with padding that is computed and not counted.
enum class Documents : std::uint8_t { packed, padded };
constexpr auto enum_names(const Documents*) {
  return std::array<std::pair<Documents, std::string_view>, 2>{
      {{Documents::packed, "packed"}, {Documents::padded, "padded"}}};
}
struct DocumentLengths {
  std::vector<std::int32_t> lengths;  // tokens, as likely as each other; cut at the sequence
  Documents how = Documents::packed;
};
TW_DESCRIBE(DocumentLengths, lengths, how);

struct PhaseSpec {
  std::string name;
  std::string tokens;  // with a prefix: "15T tokens"; padding apart
  std::int32_t seq = 0;
  std::int64_t global_batch = 0;  // sequences
  std::optional<BatchRamp> ramp;
  std::optional<DocumentLengths> documents;  // absent: a sequence is a document
  std::optional<Adapters> lora;  // absent: all weights are trained; else they are frozen beside it
};
TW_DESCRIBE(PhaseSpec, name, tokens, seq, global_batch, ramp, documents, lora);

struct JobSpec {
  std::vector<PhaseSpec> phases;
  Defaulted<std::string> title, source;
};
TW_DESCRIBE(JobSpec, phases, title, source);

// InputError names the file, the path in it, and what is legal.
std::vector<JobPhase> load_job(const std::string& path);

}  // namespace tw
