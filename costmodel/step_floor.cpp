#include "costmodel/step.hpp"

namespace tw {

double step_floor(const StepContext& context, const Chain& chain) {
  const Layout& l = *chain.layout;
  const Schedule& schedule = schedule_at(l.schedule);
  if (chain.plain || schedule.weight_copies > 1 || l.schedule == kScheduleDualpipeV) return 0;
  const KindCounts& layers = context.before.back();
  double work = 0;
  for (std::size_t k = 0; k < chain.pass->kinds.size(); ++k) {
    const KindPass& kind = chain.pass->kinds[k];
    const double backward = schedule.splits_weight ? kind.input.seconds + kind.w.seconds : kind.b.seconds;
    work += layers[k] * (kind.f.seconds + backward);
  }
  return work * static_cast<double>(microbatches(l, context.job)) / l.pp;
}

}  // namespace tw
