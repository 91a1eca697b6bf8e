// trainwright-train-gpu: trains a model for some steps on the ranks that were started, a GPU each, in bf16
// with fp32 master weights.
#include <fmt/format.h>

#include <cstdio>

#include "costmodel/program/footprint.hpp"
#include "kernels/backend/gpu/check.hpp"
#include "kernels/backend/gpu/device.hpp"
#include "train/checkpoint.hpp"
#include "train/command.hpp"
#include "train/device/engine.hpp"

namespace tw::train {
namespace {

void take_gpu(const cpu::MpiProcess& process, const Program& program) {
  const std::int32_t gpus = gpu::device_count(), hosts = process.hosts();
  if (gpus == 0) throw InputError("command line", "", "no GPU that CUDA can use");
  const std::int32_t here = (process.size() + hosts - 1) / hosts;
  if (here > gpus)
    throw InputError("command line", "",
                     fmt::format("{} ranks on a machine of {} GPUs: each takes one", here, gpus));
  gpu::use_device(process.rank().value() % gpus);
  refuse_on_device(program);
}

int train_on_gpus(Training& run, Messages& messages, const Data& data) {
  const Asked& asked = run.asked();
  DeviceEngine engine(run.view(), messages, asked.settings, data);
  if (!asked.resume.empty()) load_checkpoint(asked.resume, engine);
  const auto extra = [&](Json& out) {
    const gpu::DeviceFacts facts = gpu::device_facts();
    const DeviceMemory memory = engine.memory();
    out.set("gpu", facts.name)
        .set("cuda", facts.runtime)
        .set("cublas", facts.cublas)
        .set("cudnn", facts.cudnn);
    out.set("nccl", facts.nccl).set("in_use_bytes", run.largest(messages, memory.in_use));
    out.set("blocks_peak_bytes", run.largest(messages, memory.blocks));
    out.set("blocks_extent_bytes", run.largest(messages, memory.extent));
    out.set("program_peak_bytes",
            run.largest(messages, footprint(run.view().program(), run.view().rank()).peak));
  };
  return run.run(
      engine, [&] { save_checkpoint(asked.save, engine); }, extra);
}

}  // namespace
}  // namespace tw::train

int main(int argc, char** argv) {
  const tw::cpu::MpiProcess process(argc, argv);
  try {
    return tw::train::train_command(
        argc, argv, process,
        {"trainwright-train-gpu", {"bf16"}, tw::train::take_gpu, tw::train::train_on_gpus});
  } catch (const tw::gpu::DeviceFull& full) {
    std::fprintf(stderr, "trainwright-train-gpu: rank %d: layout: %s\n", process.rank().value(), full.what());
    tw::cpu::MpiProcess::abort(2);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trainwright-train-gpu: rank %d: %s\n", process.rank().value(), error.what());
    tw::cpu::MpiProcess::abort(1);
  }
}
