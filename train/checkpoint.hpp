// A run on disk, to go on from on any number of ranks in any arrangement: the steps done, and of every
// weight by name its whole master values and moments. A file is written beside its name and renamed when
// it is complete, so a half-written one never has the name. It holds one line
// "trainwright-checkpoint VERSION HEADER_BYTES", a JSON header that says of which run it is, and then for
// each weight and each of its fields the values as they are kept (little-endian) with their FNV-1a hash.
// No rank holds more than one array of one weight beside its own states. The file is the same whichever
// engine wrote it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "train/data.hpp"
#include "train/flat.hpp"
#include "train/settings.hpp"
#include "train/states.hpp"

namespace tw::train {

// A run as a checkpoint sees it: what it is, and its states as an engine hands them out and takes them.
struct KeptRun {
  const View& view;
  Messages& messages;
  const Settings& settings;
  const Data& data;
  bool doubles;  // master weights and moments; else floats
  std::int64_t steps_done;
  std::function<std::vector<double>(Field, const NamedWeight&)> collect;
  std::function<void(Field, const NamedWeight&, std::span<const double>)> restore;
  std::function<void(std::int64_t steps_done)> restored;  // all states
};

template <class E>
KeptRun kept_run(E& engine) {
  return {engine.view(),
          engine.messages(),
          engine.settings(),
          engine.data(),
          sizeof(typename E::Kept) == sizeof(double),
          engine.steps_done(),
          [&](Field field, const NamedWeight& weight) { return engine.collect(field, weight); },
          [&](Field field, const NamedWeight& weight, std::span<const double> whole) {
            engine.restore(field, weight, whole);
          },
          [&](std::int64_t steps) { engine.refresh(), engine.set_steps_done(steps); }};
}

// All ranks together. InputError, the same on each of them, where the file cannot be written.
void save_run(const std::string& path, const KeptRun& run);

// All ranks together. InputError, the same on each of them and before any state is changed, where the
// file is not whole or belongs to another run: model, data, recipe, or type of numbers.
void load_run(const std::string& path, const KeptRun& run);

template <class E>
void save_checkpoint(const std::string& path, E& engine) {
  save_run(path, kept_run(engine));
}
template <class E>
void load_checkpoint(const std::string& path, E& engine) {
  load_run(path, kept_run(engine));
}

}  // namespace tw::train
