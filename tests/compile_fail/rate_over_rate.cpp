// error: conversion from .*to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Seconds time = tw::Flops(1) / tw::BytesPerSec(2);
#else
constexpr tw::Seconds time = tw::Flops(1) / tw::FlopsPerSec(2);
#endif
