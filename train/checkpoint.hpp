// A run on disk, to go on from on any number of ranks in any arrangement: the steps done, and of every
// weight by name its whole master values and moments. A file is written beside its name and renamed when
// it is complete, so a half-written one never has the name. It holds one line
// "trainwright-checkpoint VERSION HEADER_BYTES", a JSON header that says of which run it is, and then for
// each weight and each of its fields the values as they are kept (little-endian) with their FNV-1a hash.
// No rank holds more than one array of one weight beside its own states.
#pragma once

#include <string>

#include "train/engine.hpp"

namespace tw::train {

// All ranks together. InputError, the same on each of them, where the file cannot be written.
template <class T>
void save_checkpoint(const std::string& path, TensorEngine<T>& engine);

// All ranks together. InputError, the same on each of them and before any state is changed, where the
// file is not whole or belongs to another run: model, data, recipe, or type of numbers.
template <class T>
void load_checkpoint(const std::string& path, TensorEngine<T>& engine);

}  // namespace tw::train
