#include "reports/ops_text.hpp"

#include <fmt/format.h>

#include "costmodel/program/work.hpp"

namespace tw {
namespace {

std::string list_text(const std::string& title, const OpList& ops, const PricedList& priced) {
  std::string out = fmt::format("\n{}\n", title);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const PricedOp& price = priced.ops[i];
    out += fmt::format("{:>4} {:>9.1f} us  {}{}\n", i, in_us(Seconds(price.seconds)), to_string(ops[i]),
                       price.extrapolated ? "  *" : "");
  }
  return out;
}

std::string pair_text(const std::string& what, const LayerWork& work, const KindPass& pass) {
  return list_text(what + ", forward", work.forward, pass.forward) +
         list_text(what + ", backward", work.backward, pass.backward);
}

std::string kind_name(const LayerKind& kind, std::size_t index) {
  return fmt::format("layer kind {} ({})", index, kind.moe ? "experts" : "dense");
}

}  // namespace

std::string ops_text(const Chain& chain, const StepContext& context, const Routing& routing,
                     const Terminal& terminal) {
  const Model& model = *context.job.model;
  const EmitInput input{
      &model, context.machine.profile, pass_key(*chain.layout), context.job.seq, routing, false,
      false,  context.job.training};
  std::string out =
      "\n" +
      bold("Operations of one micro-batch (number, time, name, stream, term, work, what it waits for)",
           terminal) +
      "\n";
  for (std::size_t i = 0; i < model.kinds.size(); ++i) {
    out += pair_text(kind_name(model.kinds[i], i), emit_layer(input, model.kinds[i]), chain.pass->kinds[i]);
  }
  out += pair_text("embedding", emit_embedding(input), chain.pass->embedding);
  return out + pair_text("head", emit_head(input), chain.pass->head);
}

}  // namespace tw
