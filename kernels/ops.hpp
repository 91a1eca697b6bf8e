// The operators of the trainer. Everything is row-major, [tokens, features], through plain pointers and
// int64 sizes; T, the type of stored elements, is double, float or bf16, and arithmetic and gradients of
// weights are in Acc<T>: double for double, float for float and bf16.
#pragma once

#include "kernels/cpu/adamw.hpp"          // IWYU pragma: export
#include "kernels/cpu/attention.hpp"      // IWYU pragma: export
#include "kernels/cpu/cross_entropy.hpp"  // IWYU pragma: export
#include "kernels/cpu/element.hpp"        // IWYU pragma: export
#include "kernels/cpu/embedding.hpp"      // IWYU pragma: export
#include "kernels/cpu/initial.hpp"        // IWYU pragma: export
#include "kernels/cpu/linear.hpp"         // IWYU pragma: export
#include "kernels/cpu/rms_norm.hpp"       // IWYU pragma: export
#include "kernels/cpu/rope.hpp"           // IWYU pragma: export
#include "kernels/cpu/router.hpp"         // IWYU pragma: export
#include "kernels/cpu/rows.hpp"           // IWYU pragma: export
#include "kernels/cpu/swiglu.hpp"         // IWYU pragma: export
#include "kernels/cpu/vectors.hpp"        // IWYU pragma: export
