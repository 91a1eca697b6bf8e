#include "costmodel/layout/legality.hpp"

#include <fmt/format.h>

#include <utility>

#include "costmodel/layout/rules.hpp"

namespace tw {
namespace {

using namespace rules;

struct Rule {
  std::string_view name;
  Link link;
  bool (*broken)(In in);
  std::string (*why)(In in);
};

constexpr Rule kTable[] = {
    // Sizes multiply; beyond 2^20 nothing was ever built and products would overflow.
    {"range", Link::pass, [](In in) { return any_out_of_range(in.layout); },
     [](In) {
       return fmt::format("every size must be from 1 to {}, hsdp may be 0, zero is 0 to 3", kLayoutLimit);
     }},
    // Every GPU has exactly one place in the grid.
    {"gpus", Link::chunk, [](In in) { return !makes_gpus(in.layout, in.job.gpus); },
     [](In in) {
       const Layout& l = in.layout;
       return fmt::format("dp {} * tp {} * pp {} * cp {} is not {} GPUs", l.dp, l.tp, l.pp, l.cp,
                          in.job.gpus);
     }},
    // Tensor parallelism cuts attention by whole heads (Megatron-LM, arXiv 1909.08053, section 3).
    {"heads", Link::pass, [](In in) { return heads_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("heads {} not divisible by tp {}", heads_uneven(in)->attention.heads, in.layout.tp);
     }},
    // A scan is cut by whole heads and by whole groups of them over tp, over cp by heads: its sequence
    // stays whole (Megatron-Core mamba_mixer.py, mamba_context_parallel.py).
    {"scan_heads", Link::pass, [](In in) { return scan_uneven(in) != nullptr; },
     [](In in) {
       const Mamba& mamba = *scan_uneven(in)->mamba;
       return fmt::format("Mamba heads {} not divisible by tp*cp {}, or groups {} by tp", mamba.heads,
                          wide(in.layout.tp) * in.layout.cp, mamba.groups);
     }},
    // KV heads are cut, or each is copied to tp/kv_heads ranks; other ratios leave uneven work.
    {"kv_heads", Link::pass, [](In in) { return kv_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("kv heads {} not divisible by tp {}, nor tp by kv heads",
                          kv_uneven(in)->attention.kv_heads, in.layout.tp);
     }},
    // The conversions between placements cut the hidden axis evenly over tp.
    {"hidden", Link::pass, [](In in) { return in.model.hidden % in.layout.tp != 0; },
     [](In in) { return fmt::format("hidden {} not divisible by tp {}", in.model.hidden, in.layout.tp); }},
    // The MLP is cut by columns, then by rows, of ffn. (The vocabulary is padded, so it is no rule.)
    {"ffn", Link::pass, [](In in) { return ffn_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("ffn {} not divisible by tp {}", ffn_uneven(in)->mlp->ffn, in.layout.tp);
     }},
    // Shared experts are a dense MLP, cut by tp and not by etp.
    {"shared_ffn", Link::pass, [](In in) { return shared_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("shared expert ffn {} not divisible by tp {}", shared_uneven(in)->moe->shared_ffn,
                          in.layout.tp);
     }},
    // Without experts ep and etp would be other names for dp and tp.
    {"dense", Link::pass,
     [](In in) { return in.moe == nullptr && (in.layout.ep != 1 || in.layout.etp != 1); },
     [](In in) {
       return fmt::format("ep {} and etp {} must be 1: the model has no experts", in.layout.ep,
                          in.layout.etp);
     }},
    // Each expert rank holds the same number of whole experts.
    {"experts", Link::pass, [](In in) { return experts_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("experts {} not divisible by ep {}", experts_uneven(in)->moe->experts,
                          in.layout.ep);
     }},
    // etp cuts one expert's ffn as tp cuts a dense one.
    {"expert_ffn", Link::pass, [](In in) { return expert_ffn_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("expert ffn {} not divisible by etp {}", expert_ffn_uneven(in)->moe->ffn,
                          in.layout.etp);
     }},
    // Parallel folding lays etp x ep x edp over the ranks of one stage (arXiv 2504.14960, section 3).
    {"folding", Link::state, [](In in) { return stage_ranks(in.layout) % expert_ranks(in.layout) != 0; },
     [](In in) {
       return fmt::format("dp*cp*tp {} not divisible by ep*etp {}", stage_ranks(in.layout),
                          expert_ranks(in.layout));
     }},
    // Canonical: with tp 1 sequence parallelism changes nothing.
    {"sp", Link::pass, [](In in) { return in.layout.sp && in.layout.tp == 1; },
     [](In) { return std::string("sp 1 needs tp above 1"); }},
    // Sequence parallelism cuts what cp left of the sequence once more, by tp (arXiv 2205.05198, 4.2.2).
    {"sp_seq", Link::pass,
     [](In in) { return in.layout.sp && in.job.seq % (wide(in.layout.tp) * in.layout.cp) != 0; },
     [](In in) {
       return fmt::format("seq {} not divisible by tp*cp {}, as sp needs", in.job.seq,
                          wide(in.layout.tp) * in.layout.cp);
     }},
    // Canonical: with cp 1 the kinds are the same.
    {"cp_kind", Link::pass, [](In in) { return in.layout.cp == 1 && in.layout.cp_kind != CpKind::zigzag; },
     [](In) { return std::string("cp_kind must be zigzag (the default) with cp 1"); }},
    // Zigzag gives each rank one early and one late piece of 2*cp, to balance the causal mask.
    {"cp_zigzag", Link::pass,
     [](In in) {
       return in.layout.cp > 1 && in.layout.cp_kind == CpKind::zigzag &&
              in.job.seq % (2 * wide(in.layout.cp)) != 0;
     },
     [](In in) {
       return fmt::format("seq {} not divisible by 2*cp {}, as zigzag needs", in.job.seq,
                          2 * wide(in.layout.cp));
     }},
    // Ring and all-to-all cut the sequence into cp equal pieces.
    {"cp_seq", Link::pass, [](In in) { return in.job.seq % in.layout.cp != 0; },
     [](In in) { return fmt::format("seq {} not divisible by cp {}", in.job.seq, in.layout.cp); }},
    // All-to-all context parallelism trades sequence for whole heads (Ulysses, arXiv 2309.14509).
    {"cp_heads", Link::pass,
     [](In in) { return in.layout.cp_kind == CpKind::a2a && a2a_heads_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("heads per tp rank {} not divisible by cp {}, as a2a needs",
                          a2a_heads_uneven(in)->attention.heads / in.layout.tp, in.layout.cp);
     }},
    {"cp_kv_heads", Link::pass,
     [](In in) { return in.layout.cp_kind == CpKind::a2a && a2a_kv_uneven(in) != nullptr; },
     [](In in) {
       return fmt::format("kv heads per tp rank {} not divisible by cp {}, as a2a needs",
                          local_kv_heads(*a2a_kv_uneven(in), in.layout.tp), in.layout.cp);
     }},
    // Canonical: with ep 1 nothing is dispatched.
    {"dispatch", Link::pass,
     [](In in) { return in.layout.dispatch != Dispatch::direct && in.layout.ep == 1; },
     [](In) { return std::string("a2a must be direct (the default) with ep 1"); }},
    // Every data-parallel rank runs the same whole number of micro-batches; cp does not add samples.
    {"batch", Link::state,
     [](In in) { return in.job.global_batch % (wide(in.layout.dp) * in.layout.mb) != 0; },
     [](In in) {
       return fmt::format("global batch {} not divisible by dp*mb {}", in.job.global_batch,
                          wide(in.layout.dp) * in.layout.mb);
     }},
    // Canonical: nothing to shard over. Experts may be replicated over ranks of tp even with dp*cp 1.
    {"zero", Link::state,
     [](In in) {
       const Layout& l = in.layout;
       return l.zero > 0 && wide(l.dp) * l.cp == 1 && (in.moe == nullptr || l.edp() == 1);
     },
     [](In in) {
       return fmt::format("zero {} needs dp*cp (or expert data parallel) above 1", in.layout.zero);
     }},
    // A shard group says where sharded states live.
    {"hsdp_zero", Link::state, [](In in) { return in.layout.hsdp != 0 && in.layout.zero == 0; },
     [](In in) { return fmt::format("hsdp {} needs zero 1, 2 or 3", in.layout.hsdp); }},
    // Shard groups are equal. Canonical: the whole dp is written 0, and 1 would shard nothing.
    {"hsdp", Link::state,
     [](In in) {
       const Layout& l = in.layout;
       return l.hsdp != 0 && (l.hsdp == 1 || l.hsdp >= l.dp || l.dp % l.hsdp != 0);
     },
     [](In in) {
       return fmt::format("hsdp {} is not a divisor of dp {} between 1 and dp (0 shards over all of dp)",
                          in.layout.hsdp, in.layout.dp);
     }},
    // The same for the replicas of an expert.
    {"hsdp_experts", Link::state,
     [](In in) { return in.moe != nullptr && in.layout.edp() % in.layout.expert_shard() != 0; },
     [](In in) {
       return fmt::format("expert data parallel {} not divisible by hsdp {}", in.layout.edp(),
                          in.layout.hsdp);
     }},
    // Each chunk holds a layer; an explicit split may leave the embedding and the head alone.
    {"layers", Link::chunk,
     [](In in) { return in.layout.split.empty() && chunks(in.layout) > in.model.layers(); },
     [](In in) {
       return fmt::format("layers {} are fewer than pp*vpp {}", in.model.layers(), chunks(in.layout));
     }},
    // Chunks of one stage alternate with those of other stages, so there must be others.
    {"vpp", Link::chunk, [](In in) { return in.layout.vpp > 1 && in.layout.pp == 1; },
     [](In in) { return fmt::format("vpp {} needs pp above 1", in.layout.vpp); }},
    // An explicit split says how many layers each chunk holds, all of them and none twice.
    {"split_entries", Link::chunk,
     [](In in) {
       const Layout& l = in.layout;
       return !l.split.empty() && static_cast<std::int64_t>(l.split.size()) != chunks(l);
     },
     [](In in) {
       return fmt::format("split has {} entries, pp*vpp is {}", in.layout.split.size(), chunks(in.layout));
     }},
    // The first chunk has the embedding and the last the head, so they may do without layers: Megatron
    // counts both as layers and ran Llama-3.1-405B's 126 layers on 128 chunks (Megatron-Bridge 26.02).
    {"split_empty", Link::chunk, [](In in) { return empty_middle(in.layout.split); },
     [](In) { return std::string("every entry of split must be 1 or more, 0 at the two ends"); }},
    {"split_layers", Link::chunk,
     [](In in) { return !in.layout.split.empty() && split_sum(in.layout) != in.model.layers(); },
     [](In in) {
       return fmt::format("split sums to {}, the model has {} layers", split_sum(in.layout),
                          in.model.layers());
     }},
    // Uneven chunks lose what interleaving gains, so it wants equal chunks; embedding and head may
    // count as a layer each (see default_split). An explicit split may do otherwise.
    {"vpp_layers", Link::chunk,
     [](In in) {
       const Layout& l = in.layout;
       return l.vpp > 1 && l.split.empty() && !even_with_ends(in.model.layers(), chunks(l));
     },
     [](In in) {
       return fmt::format(
           "layers {} (nor with 1 or 2 more for head and embedding) not divisible by pp*vpp {}",
           in.model.layers(), chunks(in.layout));
     }},
    // Canonical: on one stage all schedules are the same.
    {"schedule_pp", Link::pipe,
     [](In in) { return in.layout.pp == 1 && in.layout.schedule != kSchedule1F1B; },
     [](In in) { return fmt::format("schedule {} needs pp above 1", schedule_names()[in.layout.schedule]); }},
    // The chunks per stage are part of a schedule's definition (2 for the V shapes: arXiv 2401.10241,
    // section 6, and DualPipeV); the numbers below repeat what schedules/ refuses.
    {"schedule_vpp", Link::pipe, [](In in) { return vpp_unfit(in.layout); },
     [](In in) {
       const std::uint8_t schedule = in.layout.schedule;
       const char* legal = schedule == kScheduleInterleaved ? "2 or more" : folds_v(schedule) ? "2" : "1";
       return fmt::format("schedule {} needs vpp {}, not {}", schedule_names()[schedule], legal,
                          in.layout.vpp);
     }},
    // Interleaving advances in groups of pp micro-batches (arXiv 2104.04473, section 2.2).
    {"interleaved", Link::pipe,
     [](In in) {
       return in.layout.schedule == kScheduleInterleaved &&
              microbatches(in.layout, in.job) % in.layout.pp != 0;
     },
     [](In in) {
       return fmt::format("micro-batches {} not divisible by pp {}, as interleaved needs",
                          microbatches(in.layout, in.job), in.layout.pp);
     }},
    // DualPipe feeds both ends: stages pair up and each end gets half (arXiv 2412.19437, section 3.2.1).
    {"dualpipe_pp", Link::pipe,
     [](In in) { return in.layout.schedule == kScheduleDualpipe && in.layout.pp % 2 != 0; },
     [](In in) { return fmt::format("schedule dualpipe needs an even pp, not {}", in.layout.pp); }},
    // Its steady phase pairs a forward with a backward of the other direction: 2*pp or more in flight. The
    // fill of zb-v runs as many (arXiv 2401.10241, section 6).
    {"dualpipe", Link::pipe,
     [](In in) {
       const std::int64_t count = microbatches(in.layout, in.job);
       if (in.layout.schedule == kScheduleDualpipe) return count % 2 != 0 || count < 2 * wide(in.layout.pp);
       const bool vee = in.layout.schedule == kScheduleDualpipeV || in.layout.schedule == kScheduleZbV;
       return vee && count < 2 * wide(in.layout.pp);
     },
     [](In in) {
       const bool both_ends = in.layout.schedule == kScheduleDualpipe;
       return fmt::format("schedule {} needs {} micro-batches, {} or more, not {}",
                          schedule_names()[in.layout.schedule], both_ends ? "an even number of" : "enough",
                          2 * wide(in.layout.pp), microbatches(in.layout, in.job));
     }},
    // Canonical: swapping dp and pp where one of them is 1 changes nothing.
    {"order", Link::pipe,
     [](In in) { return pipe_inside_dp(in.layout) && (in.layout.pp == 1 || in.layout.dp == 1); },
     [](In) { return std::string("order tp-cp-ep-pp-dp needs pp and dp above 1"); }},
    // With pp inside dp a stage is not contiguous; experts of one copy must stay in one piece of tp*cp,
    // and a shard group must fill whole pieces or a part of one.
    {"order_experts", Link::pipe,
     [](In in) {
       return (pipe_inside_dp(in.layout) &&
               wide(in.layout.tp) * in.layout.cp % expert_ranks(in.layout) != 0) ||
              expert_shard_straddles(in);
     },
     [](In in) {
       return fmt::format(
           "order tp-cp-ep-pp-dp needs tp*cp {} divisible by ep*etp {}, and hsdp {} to fit in it",
           wide(in.layout.tp) * in.layout.cp, expert_ranks(in.layout), in.layout.hsdp);
     }},
    // Canonical: a module that the model lacks, or that another one contains, changes nothing.
    {"recompute", Link::pass, [](In in) { return !idle_module(in).empty(); },
     [](In in) { return std::string(idle_module(in)); }},
    // Canonical: all layers of every stage is written full.
    {"recompute_layers", Link::pipe,
     [](In in) {
       const Recompute& r = in.layout.recompute;
       return r.full_layers < 0 || (r.full_layers > 0 && r.full_layers >= widest_stage(in));
     },
     [](In in) {
       return fmt::format("recompute full:{} leaves no layer of a stage's {}; write full",
                          in.layout.recompute.full_layers, widest_stage(in));
     }},
};
static_assert(std::size(kTable) == kRules);

// The table is walked at compile time, so that each rule is inlined: about ten times faster.
template <std::size_t... I, class Applies>
int walk(std::index_sequence<I...>, In in, Applies applies) {
  int found = -1;
  const auto breaks = [&](auto index) {
    constexpr const Rule& kRule = kTable[decltype(index)::value];
    if (!applies(kRule.link) || !kRule.broken(in)) return false;
    found = static_cast<int>(decltype(index)::value);
    return true;
  };
  static_cast<void>((breaks(std::integral_constant<std::size_t, I>{}) || ...));
  return found;
}

template <class Applies>
int first_broken(const Layout& layout, const Job& job, Applies applies) {
  return walk(std::make_index_sequence<kRules>{}, Input{layout, job, *job.model, job.model->moe()}, applies);
}

}  // namespace

std::string_view rule_name(int rule) {
  return kTable[rule].name;
}

int first_broken_rule(const Layout& layout, const Job& job) {
  return first_broken(layout, job, [](Link) { return true; });
}

int first_broken_rule(const Layout& layout, const Job& job, Link link) {
  if (link == Link::pass) return first_broken(layout, job, [](Link each) { return each == Link::pass; });
  if (link == Link::state) return first_broken(layout, job, [](Link each) { return each == Link::state; });
  if (link == Link::chunk) return first_broken(layout, job, [](Link each) { return each == Link::chunk; });
  return first_broken(layout, job, [](Link each) { return each == Link::pipe; });
}

bool is_legal(const Layout& layout, const Job& job) {
  return first_broken_rule(layout, job) < 0;
}

std::string illegal_because(const Layout& layout, const Job& job) {
  const int rule = first_broken_rule(layout, job);
  if (rule < 0) return {};
  return kTable[rule].why(Input{layout, job, *job.model, job.model->moe()});
}

}  // namespace tw
