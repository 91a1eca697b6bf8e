// error: conversion from .*to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Seconds time = tw::Seconds(1) * tw::BytesPerSec(2);
#else
constexpr tw::Seconds time = tw::Seconds(1) * 2.0;
#endif
