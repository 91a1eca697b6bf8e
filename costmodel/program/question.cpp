#include "costmodel/program/question.hpp"

#include <fmt/format.h>

#include "topology/check.hpp"

namespace tw {

ProgramInput program_input(const RunQuestion& asked) {
  ProgramInput input;
  input.model = load_model(asked.model);
  input.profile = load_profile(asked.framework);
  input.layout = parse_layout(asked.arrangement.empty() ? "tp=1" : asked.arrangement, asked.ranks);
  input.job.gpus = asked.ranks, input.job.global_batch = asked.global_batch, input.job.seq = asked.seq;
  input.job.model = &input.model;
  std::string why = illegal_because(input.layout, input.job);
  if (why.empty() && input.layout.precision != Precision::bf16)
    why = "precision is that of a plan for GPUs; here --dtype says in which numbers is trained";
  if (why.empty() && input.layout.offload != Offload::none)
    why = "offload is a matter of GPUs; the trainer has one memory. Leave it out";
  if (why.empty() && input.layout.dispatch != Dispatch::direct)
    why = "the trainer sends routed tokens directly; leave a2a out";
  if (!why.empty()) throw InputError("command line", "--layout", why);
  return input;
}

}  // namespace tw
