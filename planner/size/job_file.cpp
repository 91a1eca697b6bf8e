#include "planner/size/job_file.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw {
namespace {

class Reader {
 public:
  Reader(const std::string& file, std::size_t at)
      : file_(file), path_("phases[" + std::to_string(at) + "].") {}

  JobPhase phase(const PhaseSpec& spec) const {
    constexpr std::int64_t kMostCount = 1 << 30;
    JobPhase out;
    out.name = spec.name, out.seq = spec.seq;
    require(spec.seq >= 1 && spec.seq <= kMostCount, "seq", "must be at least 1");
    require(spec.global_batch >= 1 && spec.global_batch <= kMostCount, "global_batch", "must be at least 1");
    out.tokens = tokens(spec.tokens);
    out.batches = batches(spec);
    if (spec.documents) documents(*spec.documents, spec.seq, out.training);
    if (spec.lora) {
      require(spec.lora->rank >= 1, "lora.rank", "must be at least 1; leave lora out to train all weights");
      out.training.lora = *spec.lora;
    }
    return out;
  }

 private:
  void require(bool good, const std::string& key, const std::string& message) const {
    if (!good) throw InputError(file_, path_ + key, message);
  }

  std::int64_t tokens(const std::string& text) const {
    const Parsed<std::int64_t> parsed = parse_count(text, "tokens");
    require(parsed.value.has_value(), "tokens", "\"" + printable(text) + "\": " + parsed.error);
    require(*parsed.value >= 1, "tokens", "must be at least 1");
    return *parsed.value;
  }

  std::vector<std::int64_t> batches(const PhaseSpec& spec) const {
    if (!spec.ramp) return {spec.global_batch};
    const auto [from, parts] = *spec.ramp;
    require(from >= 1 && from < spec.global_batch, "ramp.from", "must be at least 1 and below global_batch");
    constexpr std::int32_t kMostParts = 64;
    require(parts >= 2 && parts <= kMostParts, "ramp.parts", "must be 2 to " + std::to_string(kMostParts));
    const std::int64_t more = spec.global_batch - from;
    require(more % (parts - 1) == 0, "ramp.parts",
            std::to_string(from) + " to " + std::to_string(spec.global_batch) +
                " is no whole number of steps of " + std::to_string(parts) + " parts");
    std::vector<std::int64_t> out;
    for (std::int32_t i = 0; i < parts; ++i) out.push_back(from + more / (parts - 1) * i);
    return out;
  }

  // Attention of packed documents costs as if all had the length E(l^2)/E(l): its work is the sum of l^2
  // over the sum of l tokens (derived).
  void documents(const DocumentLengths& spec, std::int32_t seq, Training& out) const {
    require(!spec.lengths.empty(), "documents.lengths", "is empty");
    double sum = 0, squares = 0;
    for (const std::int32_t length : spec.lengths) {
      require(length >= 1, "documents.lengths", "must be at least 1");
      const double cut = std::min(length, seq);
      sum += cut, squares += cut * cut;
    }
    if (spec.how == Documents::packed)
      out.document = squares / sum;
    else
      out.valid = sum / (static_cast<double>(spec.lengths.size()) * seq);
  }

  const std::string& file_;
  std::string path_;
};

}  // namespace

std::vector<JobPhase> load_job(const std::string& path) {
  const auto spec = load<JobSpec>(path);
  if (spec.phases.empty()) throw InputError(path, "phases", "is empty");
  std::vector<JobPhase> out;
  for (std::size_t i = 0; i < spec.phases.size(); ++i) out.push_back(Reader(path, i).phase(spec.phases[i]));
  return out;
}

}  // namespace tw
