// error: cannot convert .*to .*int
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr std::int32_t index = tw::Rank(1);
#else
constexpr std::int32_t index = tw::Rank(1).value();
#endif
