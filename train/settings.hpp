// What a run decides beyond the Program: the recipe of the optimizer, the constants of the model's
// operators that change no shape, and the seed.
#pragma once

#include <cstdint>

#include "topology/described.hpp"

namespace tw::train {

struct Settings {
  std::uint64_t seed = 1;
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
  double clip = 1.0;                // of the global norm; 0: none
  double balance = 0;               // coefficient of the auxiliary loss of routed layers
  bool balance_pooled = false;      // of whole micro-batches (Megatron-LM's aux_loss), not of sequences
  bool renormalise = true;          // probabilities of the chosen experts sum to one
  double norm_epsilon = 1e-6;       // of RMSNorm
  double rotary_base = 10000;       // theta
  double initial_deviation = 0.02;  // of weights; norms begin at one
};
TW_DESCRIBE(Settings, seed, learning_rate, beta1, beta2, epsilon, weight_decay, clip, balance, balance_pooled,
            renormalise, norm_epsilon, rotary_base, initial_deviation);

}  // namespace tw::train
