// error: no match for .operator\*
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr tw::Seconds time = tw::Seconds(1) * tw::Bytes(2);
#else
constexpr tw::Seconds time = tw::Bytes(1) / tw::BytesPerSec(2);
#endif
