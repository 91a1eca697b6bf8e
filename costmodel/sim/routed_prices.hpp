// Prices of the operations on routed rows (from dispatch to combine) where a rank gets other than the mean:
// the closed form's at the mean, times what its curves say of these rows over the mean. An exchange takes as
// long as its busiest rank: the larger of what it sends and receives on each tier.
#pragma once

#include <map>

#include "costmodel/dispatch.hpp"
#include "costmodel/evaluator.hpp"
#include "costmodel/program/program.hpp"
#include "costmodel/sim/code.hpp"

namespace tw {

class RoutedPrices {
 public:
  // routing: of the chain, balanced.
  RoutedPrices(const Program& program, const StepContext& context, const Chain& chain, const Routing& routing,
               SimPrices base);

  bool routed(const Step& step, std::int32_t stage);
  // For `rows` times the mean; zero for none.
  double seconds(const Step& step, std::int32_t stage, double rows);
  // Of a dispatch or combine where the busier direction of a rank has these bytes.
  double exchange_seconds(const Step& step, std::int32_t stage, const TierBytes& sent);

 private:
  struct List {  // of operations: of layers of a kind
    bool plain;
    std::int32_t kind;
    friend auto operator<=>(const List&, const List&) = default;
  };
  const LayerWork& at(List list, std::int64_t parts);
  List list_of(const Unit& unit) const;
  double price(List list, const Step& step, std::int64_t parts);
  const Op& op(List list, const Step& step, std::int64_t parts);

  const Program& program_;
  const StepContext& context_;
  const Chain& chain_;
  Routing routing_;
  SimPrices base_;
  Pricer pricer_;
  std::map<std::pair<List, std::int64_t>, LayerWork> works_;  // by parts of the mean
  std::map<std::tuple<List, bool, std::int16_t, std::int64_t>, double> prices_;
  std::map<std::tuple<List, bool, std::int16_t>, bool> routed_;
};

}  // namespace tw
