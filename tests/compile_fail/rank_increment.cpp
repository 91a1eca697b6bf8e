// error: no match for .operator\+\+
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
void next(tw::Rank rank) {
  ++rank;
}
#else
constexpr bool same = tw::Rank(1) == tw::Rank(1);
#endif
