// The model of a row: the named one of scenarios/models where the row's sizes agree with it, else the
// row's sizes under the convention whose parameter count matches params_b within 1%. Everything that
// the row did not say is listed in `filled`.
#pragma once

#include "costmodel/model.hpp"
#include "planner/validate/row.hpp"

namespace tw::validate {

struct FilledModel {
  Model model;
  std::string why_not;  // set where no model could be made
};
// usual_vocab: of the source, 0 where it names none.
FilledModel fill_model(const Row& row, std::int32_t usual_vocab, std::vector<std::string>& filled);

}  // namespace tw::validate
