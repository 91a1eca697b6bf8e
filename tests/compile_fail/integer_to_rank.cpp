// error: conversion from .int. to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Rank rank = 1;
#else
constexpr tw::Rank rank = tw::Rank(1);
#endif
