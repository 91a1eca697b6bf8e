// error: no match for .operator\+
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr auto sum = tw::Bytes(1) + tw::Seconds(2);
#else
constexpr tw::Bytes sum = tw::Bytes(1) + tw::Bytes(2);
#endif
