// error: no match for .operator\+
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr auto sum = tw::Seconds(1) + tw::Flops(2);
#else
constexpr tw::Seconds sum = tw::Seconds(1) + tw::Seconds(2);
#endif
