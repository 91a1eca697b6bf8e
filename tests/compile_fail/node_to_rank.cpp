// error: conversion from .*to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Rank rank = tw::Node(1);
#else
constexpr tw::Rank rank = tw::Rank(1);
#endif
