// error: no match for .operator\+
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr auto next = tw::Rank(1) + 1;
#else
constexpr tw::Rank next = tw::Rank(tw::Rank(1).value() + 1);
#endif
