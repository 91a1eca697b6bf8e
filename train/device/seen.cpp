#include "train/device/seen.hpp"

#include <algorithm>

#include "topology/check.hpp"

namespace tw::train {

Seen seen(std::span<const std::int32_t> queries, std::span<const std::int32_t> keys) {
  const auto length = static_cast<std::int64_t>(queries.size());
  if (std::equal(queries.begin(), queries.end(), keys.begin(), keys.end())) return {0, length, length, true};
  const auto count_for = [&](std::int64_t query) {
    const std::int32_t position = queries[static_cast<std::size_t>(query)];
    return std::upper_bound(keys.begin(), keys.end(), position) - keys.begin();
  };
  std::int64_t first = 0;
  while (first < length && count_for(first) == 0) ++first;
  if (first == length) return {};
  const std::int64_t of_first = count_for(first);
  for (std::int64_t query = first; query < length; ++query) TW_CHECK(count_for(query) == of_first);
  return {first, length - first, of_first, false};
}

}  // namespace tw::train
