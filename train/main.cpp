// trainwright-train: trains a model for some steps on the ranks that were started, in any arrangement
// that a Program can be written for, on CPUs.
#include <malloc.h>

#include <cstdio>

#include "train/checkpoint.hpp"
#include "train/command.hpp"

namespace tw::train {
namespace {

template <class T>
int train_in(Training& run, Messages& messages, const Data& data) {
  const Asked& asked = run.asked();
  TensorEngine<T> engine(run.view(), messages, asked.settings, data);
  if (!asked.resume.empty()) load_checkpoint(asked.resume, engine);
  return run.run(
      engine, [&] { save_checkpoint(asked.save, engine); }, [](Json&) {});
}

int train_on_cpus(Training& run, Messages& messages, const Data& data) {
  const std::string& dtype = run.asked().dtype;
  if (dtype == "fp64") return train_in<double>(run, messages, data);
  return dtype == "fp32" ? train_in<float>(run, messages, data) : train_in<bf16>(run, messages, data);
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  // What a step frees the next one needs again: kept, so that no page is mapped twice.
  mallopt(M_MMAP_THRESHOLD, 1 << 30), mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const tw::cpu::MpiProcess process(argc, argv);
  try {
    return tw::train::train_command(
        argc, argv, process,
        {"trainwright-train", {"fp64", "fp32", "bf16"}, nullptr, tw::train::train_on_cpus});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trainwright-train: rank %d: %s\n", process.rank().value(), error.what());
    tw::cpu::MpiProcess::abort(1);
  }
}
