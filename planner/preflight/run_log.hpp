// Step times and memory out of the logs that training frameworks print, line by line. Formats, each with the
// code that prints it, stand in run_log.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tw::preflight {

struct LoggedStep {
  std::int64_t step = 0;
  double seconds = 0;
};

struct RunLog {
  std::vector<LoggedStep> steps;  // in order; each once
  std::vector<double> losses;     // of those that print one
  double memory_gib = 0;          // the most that any line says; 0: none does
};

// tokens: of a step and GPU, for logs that print a rate alone; 0: not known.
class RunLogReader {
 public:
  explicit RunLogReader(double tokens_per_gpu, std::int64_t global_batch)
      : tokens_per_gpu_(tokens_per_gpu), global_batch_(global_batch) {}
  // Nothing where the line says nothing of a step or of memory.
  void line(std::string_view text);
  const RunLog& log() const { return log_; }

 private:
  void add_step(std::int64_t step, double seconds);
  void add_memory(double gib);
  bool megatron(std::string_view text);
  bool torchtitan(std::string_view text);
  bool deepspeed(std::string_view text);
  bool nemo(std::string_view text);

  double tokens_per_gpu_;
  std::int64_t global_batch_;
  RunLog log_;
};

}  // namespace tw::preflight
