#include "planner/layout_option.hpp"

#include "costmodel/layout/legality.hpp"
#include "planner/options.hpp"
#include "topology/check.hpp"

namespace tw {

CLI::Option* layout_option(CLI::App& app, std::string& layout) {
  return text_option(
      app, "--layout", layout,
      "L: keys and values joined by commas, such as dp=8,tp=4,pp=2,ep=8,zero=1,recompute=selective; dp may "
      "be left out, the others default to tp=1,pp=1,cp=1,ep=1,etp=1,vpp=1,sp=0,zero=0,hsdp=0,mb=1,"
      "recompute=none,schedule=1f1b");
}

Layout legal_layout(const std::string& text, const Problem& problem) {
  Layout layout = parse_layout(text, problem.job.gpus);
  if (!parse_layout_keys(text, "--layout").has(LayoutKey::precision))
    layout.precision = problem.inputs.precision;
  const std::string why = illegal_because(layout, problem.job);
  if (!why.empty()) throw InputError("command line", "--layout", why);
  const std::string unpriced =
      unpriced_because(layout.precision, problem.cluster.device, problem.inputs.calibration);
  if (!unpriced.empty()) throw InputError("command line", "--layout", unpriced);
  return layout;
}

}  // namespace tw
