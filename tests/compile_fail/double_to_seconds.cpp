// error: conversion from .double. to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Seconds time = 1.5;
#else
constexpr tw::Seconds time = tw::Seconds(1.5);
#endif
