#include "tests/gpu/resumed.hpp"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "train/checkpoint.hpp"
#include "train/device/engine.hpp"

namespace tw::train {
namespace {

constexpr int kBefore = 2, kAfter = 2;

template <class E>
class TestRun {
 public:
  TestRun(const DeviceCase& one, Messages& messages)
      : program_(device_input(one)),
        view_(program_, messages.self()),
        settings_(device_settings(one.model)),
        data_(Data::pattern(settings_.seed, program_.input().model.vocab)),
        engine_(view_, messages, settings_, data_) {}

  E& engine() { return engine_; }
  std::vector<double> losses(int steps) {
    Recorder recorder;
    Trainer<E> trainer(view_, engine_, recorder);
    std::vector<double> out;
    for (int i = 0; i < steps; ++i) {
      trainer.step();
      out.push_back(engine_.losses().total());
    }
    return out;
  }
  std::vector<std::vector<double>> states() {
    std::vector<std::vector<double>> out;
    for (const NamedWeight& weight : named_weights(program_)) {
      for (const Field field : {Field::master, Field::first_moment, Field::second_moment})
        out.push_back(engine_.collect(field, weight));
    }
    return out;
  }

 private:
  Program program_;
  View view_;
  Settings settings_;
  Data data_;
  E engine_;
};

std::string bytes_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

// A folder of this launch, with one name on all ranks.
Resumed::Resumed(const cpu::MpiProcess& process, Messages& messages)
    : process_(process), messages_(messages) {
  std::vector<Rank> world;
  for (std::int32_t i = 0; i < process.size(); ++i) world.push_back(Rank(i));
  const std::int64_t own = ::getpid();
  std::vector<std::int64_t> all(world.size());
  messages.all_gather(world, &own, sizeof own, all.data());
  folder_ = std::filesystem::temp_directory_path() / ("trainwright-resumed-" + std::to_string(all.front()));
  if (process.rank() == Rank(0)) std::filesystem::create_directories(folder_);
}

Resumed::~Resumed() {
  std::error_code ignored;
  if (process_.rank() == Rank(0)) std::filesystem::remove_all(folder_, ignored);
}

void Resumed::compare(const ResumedCase& one) {
  pair<DeviceEngine, DeviceEngine>(one, "GPU to GPU");
  pair<DeviceEngine, TensorEngine<bf16>>(one, "GPU to CPU");
  pair<TensorEngine<bf16>, DeviceEngine>(one, "CPU to GPU");
}

template <class From, class To>
void Resumed::pair(const ResumedCase& one, const char* engines) {
  const std::string first = folder_ + "/first", second = folder_ + "/second";
  std::vector<std::vector<double>> saved, found;
  std::vector<double> straight, resumed;
  {
    TestRun<From> run({one.model, one.from, one.ranks}, messages_);
    run.losses(kBefore);
    save_checkpoint(first, run.engine());
    saved = run.states();
    straight = run.losses(kAfter);
  }
  {
    TestRun<To> run({one.model, one.to, one.ranks}, messages_);
    load_checkpoint(first, run.engine());
    found = run.states();
    save_checkpoint(second, run.engine());
    resumed = run.losses(kAfter);
  }
  process_.barrier();
  if (process_.rank() != Rank(0)) return;
  double apart = 0;
  for (std::size_t i = 0; i < straight.size(); ++i) {
    const double each = std::abs(straight[i] - resumed[i]);
    if (!(each <= apart)) apart = each;  // a NaN stays
  }
  const double limit = kTimes * kFloor;
  const bool states = saved == found, file = bytes_of_file(first) == bytes_of_file(second);
  const bool good = states && file && apart <= limit;
  ++count_, wrong_ += good ? 0 : 1;
  if (good && !verbose) return;
  std::printf("%s%s %s -> %s on %d, %s: states %s, file %s, losses %.1e of %.1e\n", good ? "" : "WRONG ",
              one.model.c_str(), one.from.c_str(), one.to.c_str(), one.ranks, engines,
              states ? "equal" : "differ", file ? "equal" : "differs", apart, limit);
  std::fflush(stdout);
}

}  // namespace tw::train
