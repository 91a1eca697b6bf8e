#include "planner/preflight/run_log.hpp"

#include <charconv>
#include <cmath>

#include "topology/units.hpp"

namespace tw::preflight {
namespace {

// Escape sequences of coloured terminals, ESC [ ... letter.
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      out += text[i];
      continue;
    }
    while (i + 1 < text.size() && std::isalpha(static_cast<unsigned char>(text[i])) == 0) ++i;
  }
  return out;
}

// The number behind `key` and what may stand between; thousands may be parted by commas.
std::optional<double> number_behind(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t begin = at + key.size();
  while (begin < text.size() && std::string_view(" :=\t").find(text[begin]) != std::string_view::npos)
    ++begin;
  std::string digits;
  for (; begin < text.size(); ++begin) {
    const char c = text[begin];
    if (c == ',' && begin + 1 < text.size() &&
        std::isdigit(static_cast<unsigned char>(text[begin + 1])) != 0 &&
        digits.find('.') == std::string::npos && begin + 3 < text.size() &&
        std::isdigit(static_cast<unsigned char>(text[begin + 3])) != 0)
      continue;
    if (std::isdigit(static_cast<unsigned char>(c)) == 0 &&
        std::string_view("+-.eE").find(c) == std::string_view::npos)
      break;
    digits += c;
  }
  double value = 0;
  const char* first = digits.data() + (digits.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(first, digits.data() + digits.size(), value);
  if (error != std::errc{} || end == first || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::int64_t whole(double value) {
  constexpr double kMostSteps = 1e12;
  return value >= 0 && value < kMostSteps ? static_cast<std::int64_t>(value) : -1;
}

constexpr double kMilli = 1e-3;

double gib_of_mib(double mib) {
  return mib * in_gib(*parse_unit<Bytes>("1 MiB").value);
}

}  // namespace

void RunLogReader::add_step(std::int64_t step, double seconds) {
  if (step < 0 || !(seconds > 0)) return;
  if (!log_.steps.empty() && log_.steps.back().step == step) return;  // several ranks print the same
  log_.steps.push_back({step, seconds});
}

void RunLogReader::add_memory(double gib) {
  if (gib > log_.memory_gib) log_.memory_gib = gib;
}

// Megatron-LM and Megatron-Bridge, training_log: " iteration 10/ 50 | ... elapsed time per iteration (ms):
// 574.1 |
// ... lm loss: 1.1E+01"; report_memory: "... memory (MB) | allocated: 1 | max allocated: 2 | reserved: 3 |
// max reserved: 4". Megatron-DeepSpeed prints the first too.
bool RunLogReader::megatron(std::string_view text) {
  const auto elapsed = number_behind(text, "elapsed time per iteration (ms)");
  const auto iteration = number_behind(text, " iteration");
  if (elapsed && iteration) {
    add_step(whole(*iteration), *elapsed * kMilli);
    if (const auto loss = number_behind(text, "lm loss")) log_.losses.push_back(*loss);
    return true;
  }
  if (text.find("memory (MB)") == std::string_view::npos) return false;
  if (const auto most = number_behind(text, "max allocated")) add_memory(gib_of_mib(*most));
  return true;
}

// torchtitan, components/metrics.py: "step: 10  loss: 8.1  grad_norm: 1.0  memory: 50.02GiB(63.20%)  tps:
// 6,244 tflops: 361.20  mfu: 36.52%"; tps counts tokens of a GPU and second.
bool RunLogReader::torchtitan(std::string_view text) {
  const auto step = number_behind(text, "step:"), rate = number_behind(text, "tps:");
  const auto memory = number_behind(text, "memory:");
  if (!step || !rate || !memory || text.find("GiB") == std::string_view::npos) return false;
  add_memory(*memory);
  if (tokens_per_gpu_ > 0 && *rate > 0) add_step(whole(*step), tokens_per_gpu_ / *rate);
  if (const auto loss = number_behind(text, "loss:")) log_.losses.push_back(*loss);
  return true;
}

// DeepSpeed, utils/timer.py, ThroughputTimer: "epoch=0/micro_step=40/global_step=10,
// RunningAvgSamplesPerSec=12.3, CurrSamplesPerSec=12.4, MemAllocated=30.2GB, MaxMemAllocated=50.1GB" (GB of
// 2^30).
bool RunLogReader::deepspeed(std::string_view text) {
  const auto rate = number_behind(text, "CurrSamplesPerSec"), step = number_behind(text, "global_step");
  if (!rate || !step) return false;
  if (const auto memory = number_behind(text, "MaxMemAllocated")) add_memory(*memory);
  if (global_batch_ > 0 && *rate > 0) add_step(whole(*step), static_cast<double>(global_batch_) / *rate);
  return true;
}

// NeMo 2: "Training epoch 0, iteration 9/99 | lr: 1e-04 | global_batch_size: 256 | global_step: 9 |
// reduced_train_loss: 11.03 | train_step_timing in s: 5.74"; NeMo 1's progress bar: "global_step=9.000,
// ... train_step_timing in s=5.740".
bool RunLogReader::nemo(std::string_view text) {
  const auto seconds = number_behind(text, "train_step_timing in s");
  if (!seconds) return false;
  const auto step = number_behind(text, "global_step");
  add_step(step ? whole(*step) : static_cast<std::int64_t>(log_.steps.size()), *seconds);
  if (const auto loss = number_behind(text, "reduced_train_loss")) log_.losses.push_back(*loss);
  return true;
}

void RunLogReader::line(std::string_view text) {
  const std::string clean = plain(text);
  if (megatron(clean) || deepspeed(clean) || nemo(clean)) return;
  torchtitan(clean);
}

}  // namespace tw::preflight
