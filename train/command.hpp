// The command line of the trainer, for the engines of one kind of device: what is asked for, the steps, and
// what is said and written about them.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "costmodel/program/question.hpp"
#include "kernels/backend/cpu/mpi.hpp"
#include "topology/json.hpp"
#include "train/engine.hpp"
#include "train/status.hpp"
#include "train/term_times.hpp"
#include "train/timeline.hpp"
#include "train/trainer.hpp"

namespace tw::train {

struct Asked {
  RunQuestion question;
  std::string dtype = "bf16", data, save, resume, json, trace, status, machine;
  std::int64_t steps = 10, save_every = 0;
  Settings settings;
  bool quiet = false;
};

inline constexpr int kDone = 0, kBadInput = 2, kDiverged = 4;

// One run of an engine that is ready.
class Training {
 public:
  Training(const Asked& asked, const View& view, bool speaks) : asked_(asked), view_(view), speaks_(speaks) {}
  const Asked& asked() const { return asked_; }
  const View& view() const { return view_; }

  // save: called with the path; extra: more members of the result, of all ranks together.
  template <class E>
  int run(E& engine, const std::function<void()>& save, const std::function<void(Json&)>& extra) {
    const bool json = !asked_.json.empty(), traced = !asked_.trace.empty();
    Recorder recorder(json || traced);
    std::optional<Status> status;
    if (!asked_.status.empty()) status.emplace(asked_.status, view_);
    if (status) recorder.watch([&](std::size_t at) { status->at(at, engine.steps_done() + 1); });
    Trainer<E> trainer(view_, engine, recorder);
    TermTimes times(view_);
    done_.first_step = engine.steps_done();
    begin();
    for (std::int64_t i = 1; i <= asked_.steps; ++i) {
      trainer.step();
      note(engine.losses().total(), engine.gradient_norm(), recorder.seconds());
      if constexpr (requires { engine.issue_seconds(); })
        done_.issue_seconds.push_back(engine.issue_seconds());
      if (json) add_times(engine, recorder, times);
      if (!std::isfinite(engine.losses().total())) return diverged();
      const bool now = asked_.save_every > 0 && i % asked_.save_every == 0;
      if (!asked_.save.empty() && (now || i == asked_.steps)) save();
    }
    done_.peak_bytes = largest(engine.messages(), recorder.peak_bytes());
    done_.resident_bytes = largest(engine.messages(), resident_of(engine));
    if constexpr (requires { engine.trace(true); }) {
      if (json || traced) trace(engine, trainer, times);
    }
    if (traced) write_timeline(asked_.trace, view_, engine.messages(), timeline_of(engine, recorder));
    if (json) done_.terms = times.of_the_busiest(engine.messages());
    if (json) extra(extra_);
    if (speaks_) end();
    return kDone;
  }

  std::int64_t largest(Messages& messages, std::int64_t own) const;

 private:
  // An engine that traces says where the time goes in steps of their own, since a trace takes time itself.
  static constexpr int kTraced = 3;
  template <class E>
  static void add_times(E& engine, const Recorder& recorder, TermTimes& times) {
    if constexpr (!requires { engine.trace(true); }) times.add(recorder.marks());
  }
  template <class E>
  void trace(E& engine, Trainer<E>& trainer, TermTimes& times) {
    engine.trace(true);
    std::vector<double> seconds;
    for (int i = 0; i < kTraced; ++i) {
      trainer.step();
      times.add(engine.marks());
      seconds.push_back(engine.marks().back().seconds);
    }
    done_.traced_seconds = std::move(seconds);
    engine.trace(false);
  }
  // Of the last step.
  template <class E>
  static Timeline timeline_of(const E& engine, const Recorder& recorder) {
    if constexpr (requires { engine.timeline(); })
      return engine.timeline();
    else
      return one_stream(recorder.marks());
  }
  // What the run holds: of its device where the engine has one, else of this process.
  template <class E>
  static std::int64_t resident_of(const E& engine) {
    if constexpr (requires { engine.memory(); })
      return engine.memory().in_use;
    else
      return most_resident();
  }
  static std::int64_t most_resident();
  double tokens() const { return static_cast<double>(view_.global_batch() * view_.seq()); }
  void begin() const;
  void note(double loss, double norm, double seconds);
  int diverged() const;
  void end();

  struct Done {
    std::vector<double> losses, norms, seconds, traced_seconds, issue_seconds;
    std::int64_t first_step = 0, peak_bytes = 0, resident_bytes = 0;  // of the rank that had most
    TermSeconds terms;                                                // of a step
  };
  const Asked& asked_;
  const View& view_;
  bool speaks_;
  Done done_;
  Json extra_ = Json::object();
};

// Of one kind of device.
struct Engines {
  const char* program;
  std::vector<std::string> dtypes;  // of stored numbers; the last is the default
  std::function<void(const cpu::MpiProcess& process, const Program& program)> prepare;  // InputError
  std::function<int(Training& run, Messages& messages, const Data& data)> train;
};

// Exit codes: 0 done; 2 bad input, one line from one rank; 4 the loss is no number any more.
int train_command(int argc, char** argv, const cpu::MpiProcess& process, const Engines& engines);

}  // namespace tw::train
