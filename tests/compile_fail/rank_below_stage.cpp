// error: no match for .operator<
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr bool less = tw::Rank(0) < tw::Stage(1);
#else
constexpr bool less = tw::Rank(0) < tw::Rank(1);
#endif
