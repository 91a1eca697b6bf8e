// error: conversion from .double. to non-scalar type
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Bytes size = 1.5;
#else
constexpr tw::Bytes size = tw::Bytes(1);
#endif
