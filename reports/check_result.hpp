// What check answers: every option of a launch file with its class, what was found, and the prediction.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reports/result.hpp"
#include "reports/table.hpp"

namespace tw {

enum class OptionKind : std::uint8_t { layout, cost, irrelevant, unknown };
constexpr auto enum_names(const OptionKind*) {
  return std::array<std::pair<OptionKind, std::string_view>, 4>{{{OptionKind::layout, "layout"},
                                                                 {OptionKind::cost, "cost"},
                                                                 {OptionKind::irrelevant, "irrelevant"},
                                                                 {OptionKind::unknown, "unknown"}}};
}
struct ReadOption {
  std::string name, value;
  OptionKind kind = OptionKind::unknown;
};

enum class Severity : std::uint8_t { note, warn, fail };
std::string_view name_of(Severity severity);  // of the verdict too: note reads "pass"

// `about`: memory, mesh, groups, sampler, divisibility, precision, skew, version, gpus, options, unknown,
// cost, better, launch, machine, measured.
struct Finding {
  Severity severity = Severity::note;
  std::string about, text;
};

struct BetterLayout {
  Layout layout;
  double step_seconds = 0, gain = 0;  // gain: the share of the step that it saves
  std::string changes;                // keys that differ, as LAYOUT text
};

// A measured step beside the predicted one; terms of a profile, seconds of a step.
struct MeasuredTerm {
  std::string name;
  double measured = 0, predicted = 0;
};
struct MeasuredStep {
  double step_seconds = 0, ratio = 0;  // predicted over measured
  bool inside = false;                 // the 80% band
  std::vector<MeasuredTerm> terms;     // by the largest difference
  double assigned = 0;                 // share of the profile's device time that has a term
  std::string unassigned;              // the largest of the rest, by name
};

struct CheckResult {
  std::string launch, format, commit;  // the file; whose options; the parser's commit
  std::optional<Question> question;    // as far as the file says it
  std::vector<ReadOption> options;
  std::vector<Finding> findings;
  std::optional<Layout> layout;
  std::int32_t vocabulary = 0;  // of the model, where it is known
  std::optional<Prediction> prediction;
  std::optional<BetterLayout> better;
  std::optional<std::int32_t> least_gpus;  // that some layout of the framework fits on
  std::optional<MeasuredStep> measured;
  Severity verdict() const;
};

inline constexpr std::string_view kCheckSchema = "trainwright.check/1";
Json to_json(const CheckResult& result);
std::string to_text(const CheckResult& result, const Terminal& terminal, bool quiet);

}  // namespace tw
