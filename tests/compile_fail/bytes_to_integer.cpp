// error: cannot convert .tw::Bytes.
#include "topology/ids.hpp"
#include "topology/units.hpp"

#ifdef TW_MUST_FAIL
constexpr std::int64_t count = tw::Bytes(1);
#else
constexpr std::int64_t count = tw::Bytes(1).count;
#endif
