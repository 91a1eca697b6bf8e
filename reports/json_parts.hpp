// Parts of results as JSON that several results hold.
#pragma once

#include <vector>

#include "reports/result.hpp"
#include "topology/json.hpp"

namespace tw {

void add_question(Json& out, const Question& question);
void add_prediction(Json& out, const Prediction& prediction);
Json searched_json(const Searched& searched);
Json near_misses_json(const std::vector<NearMiss>& misses, Bytes limit);

}  // namespace tw
