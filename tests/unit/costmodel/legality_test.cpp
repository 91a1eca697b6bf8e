// Each rule of a layout by hand: one legal layout, one key changed, the exact words.
#include "costmodel/layout/legality.hpp"

#include <gtest/gtest.h>

#include <set>

namespace tw {
namespace {

Model gqa(int layers = 32) {
  Model model;
  model.hidden = 4096;
  LayerKind kind;
  kind.attention = {.heads = 32, .kv_heads = 8, .head_dim = 128, .value_dim = 128};
  kind.mlp = Mlp{.ffn = 14336};
  for (int i = 0; i < layers; ++i) add_layer(model, kind);
  return model;
}

Model moe(int shared_ffn = 0) {
  Model model = gqa();
  model.kinds[0].mlp.reset();
  model.kinds[0].moe = Moe{.experts = 8, .top_k = 2, .ffn = 14336, .shared_ffn = shared_ffn};
  return model;
}

// Reason why `text` is illegal on `gpus` with a global batch of 64 and 4096 tokens per sequence.
std::string why(const Model& model, std::string_view text, int gpus, int batch = 64, int seq = 4096) {
  const Job job{.model = &model, .global_batch = batch, .seq = seq, .gpus = gpus};
  const Layout layout = parse_layout(text, 0);
  const std::string reason = illegal_because(layout, job);
  EXPECT_EQ(reason.empty(), is_legal(layout, job));
  return reason;
}

TEST(Legality, SizesOfTheModel) {
  const Model model = gqa();
  EXPECT_EQ(why(model, "dp=2,tp=4", 8), "");
  EXPECT_EQ(why(model, "dp=2,tp=4", 16), "dp 2 * tp 4 * pp 1 * cp 1 is not 16 GPUs");
  EXPECT_EQ(why(model, "dp=1,tp=5", 5), "heads 32 not divisible by tp 5");
  EXPECT_EQ(why(model, "dp=1,tp=16", 16), "");  // 8 kv heads, each on two ranks
  Model odd = gqa();
  odd.kinds[0].attention.kv_heads = 12;
  odd.kinds[0].attention.heads = 48;
  EXPECT_EQ(why(odd, "dp=1,tp=8", 8), "kv heads 12 not divisible by tp 8, nor tp by kv heads");
  odd.kinds[0].attention.kind = AttentionKind::latent;
  EXPECT_EQ(why(odd, "dp=1,tp=8", 8), "");
  odd.hidden = 4100;
  EXPECT_EQ(why(odd, "dp=1,tp=8", 8), "hidden 4100 not divisible by tp 8");
  odd = gqa();
  odd.kinds[0].mlp->ffn = 1004;
  EXPECT_EQ(why(odd, "dp=1,tp=8", 8), "ffn 1004 not divisible by tp 8");
}

TEST(Legality, EveryKindOfLayerCounts) {
  Model model = gqa();
  LayerKind second = model.kinds[0];
  second.attention.heads = 40;
  add_layer(model, second);
  EXPECT_EQ(why(model, "dp=1,tp=8", 8), "");
  EXPECT_EQ(why(model, "dp=1,tp=16", 16), "heads 40 not divisible by tp 16");
}

TEST(Legality, Experts) {
  EXPECT_EQ(why(gqa(), "dp=8,ep=2", 8), "ep 2 and etp 1 must be 1: the model has no experts");
  EXPECT_EQ(why(gqa(), "dp=8,etp=2", 8), "ep 1 and etp 2 must be 1: the model has no experts");
  EXPECT_EQ(why(moe(), "dp=8,ep=8", 8), "");
  EXPECT_EQ(why(moe(), "dp=16,ep=16", 16), "experts 8 not divisible by ep 16");
  EXPECT_EQ(why(moe(), "dp=3,etp=3", 3, 3), "expert ffn 14336 not divisible by etp 3");
  EXPECT_EQ(why(moe(), "dp=2,tp=2,ep=8", 4), "dp*cp*tp 4 not divisible by ep*etp 8");
  EXPECT_EQ(why(moe(), "dp=2,tp=4,ep=4,etp=2", 8), "");  // folded over dp and tp
  EXPECT_EQ(why(moe(1004), "dp=1,tp=8", 8), "shared expert ffn 1004 not divisible by tp 8");
  EXPECT_EQ(why(moe(), "dp=8,ep=1,a2a=dedup", 8), "a2a must be direct (the default) with ep 1");
  EXPECT_EQ(why(moe(), "dp=8,ep=2,a2a=dedup", 8), "");
}

TEST(Legality, Sequence) {
  const Model model = gqa();
  EXPECT_EQ(why(model, "dp=2,sp=1", 2), "sp 1 needs tp above 1");
  EXPECT_EQ(why(model, "dp=1,tp=4,cp=2,sp=1", 8, 64, 4092), "seq 4092 not divisible by tp*cp 8, as sp needs");
  EXPECT_EQ(why(model, "dp=1,tp=4,cp=2,sp=0", 8, 64, 4092), "");
  EXPECT_EQ(why(model, "dp=2,cp_kind=ring", 2), "cp_kind must be zigzag (the default) with cp 1");
  EXPECT_EQ(why(model, "dp=1,cp=2", 2, 64, 4098), "seq 4098 not divisible by 2*cp 4, as zigzag needs");
  EXPECT_EQ(why(model, "dp=1,cp=2,cp_kind=ring", 2, 64, 4098), "");
  EXPECT_EQ(why(model, "dp=1,cp=2,cp_kind=ring", 2, 64, 4097), "seq 4097 not divisible by cp 2");
  EXPECT_EQ(why(model, "dp=1,tp=16,cp=4,cp_kind=a2a", 64),
            "heads per tp rank 2 not divisible by cp 4, as a2a needs");
  EXPECT_EQ(why(model, "dp=1,tp=4,cp=4,cp_kind=a2a", 16),
            "kv heads per tp rank 2 not divisible by cp 4, as a2a needs");
  EXPECT_EQ(why(model, "dp=1,tp=4,cp=2,cp_kind=a2a", 8), "");
}

TEST(Legality, BatchAndStates) {
  const Model model = gqa();
  EXPECT_EQ(why(model, "dp=8,mb=3", 8), "global batch 64 not divisible by dp*mb 24");
  EXPECT_EQ(why(model, "dp=1,cp=128", 128), "");  // cp does not multiply the batch
  EXPECT_EQ(why(model, "dp=1,tp=2,zero=1", 2), "zero 1 needs dp*cp (or expert data parallel) above 1");
  EXPECT_EQ(why(moe(), "dp=1,tp=2,zero=1", 2), "");  // each expert stands on both ranks
  EXPECT_EQ(why(moe(), "dp=1,tp=2,ep=2,zero=1", 2), "zero 1 needs dp*cp (or expert data parallel) above 1");
  EXPECT_EQ(why(model, "dp=1,cp=2,zero=1", 2), "");
  EXPECT_EQ(why(model, "dp=8,hsdp=2", 8), "hsdp 2 needs zero 1, 2 or 3");
  EXPECT_EQ(why(model, "dp=8,hsdp=2,zero=3", 8), "");
  for (const char* size : {"1", "3", "8", "16"}) {
    EXPECT_EQ(
        why(model, "dp=8,zero=1,hsdp=" + std::string(size), 8),
        "hsdp " + std::string(size) + " is not a divisor of dp 8 between 1 and dp (0 shards over all of dp)");
  }
  EXPECT_EQ(why(moe(), "dp=12,tp=1,ep=4,zero=1,hsdp=2", 12, 12),
            "expert data parallel 3 not divisible by hsdp 2");
  EXPECT_EQ(why(moe(), "dp=12,tp=1,ep=4,zero=1,hsdp=6", 12, 12), "");  // experts: the smaller of 6 and 3
}

TEST(Legality, Chunks) {
  EXPECT_EQ(why(gqa(4), "dp=1,pp=8", 8), "layers 4 are fewer than pp*vpp 8");
  EXPECT_EQ(why(gqa(), "dp=2,vpp=2,schedule=interleaved", 2), "vpp 2 needs pp above 1");
  EXPECT_EQ(why(gqa(), "dp=1,pp=4,vpp=2,schedule=interleaved", 4), "");
  EXPECT_EQ(why(gqa(), "dp=1,pp=4,vpp=3,schedule=interleaved", 4),
            "layers 32 (nor with 1 or 2 more for head and embedding) not divisible by pp*vpp 12");
  EXPECT_EQ(why(gqa(30), "dp=1,pp=4,vpp=2,schedule=interleaved", 4), "");  // 30 + embedding + head = 8 * 4
  EXPECT_EQ(why(gqa(31), "dp=1,pp=4,vpp=2,schedule=interleaved", 4), "");  // 31 + head = 8 * 4
  EXPECT_EQ(why(gqa(30), "dp=1,pp=4,split=7-8-8-7", 4), "");
  EXPECT_EQ(why(gqa(30), "dp=1,pp=4,split=7-8-15", 4), "split has 3 entries, pp*vpp is 4");
  EXPECT_EQ(why(gqa(30), "dp=1,pp=4,split=7-8-8-8", 4), "split sums to 31, the model has 30 layers");
  EXPECT_EQ(why(gqa(29), "dp=1,pp=2,vpp=2,schedule=interleaved,split=7-8-8-6", 2), "");  // said by hand
  EXPECT_EQ(why(gqa(6), "dp=1,pp=4,vpp=2,schedule=interleaved,split=0-1-1-1-1-1-1-0", 4), "");  // 405B's way
}

TEST(Legality, Schedules) {
  const Model model = gqa();
  EXPECT_EQ(why(model, "dp=2,schedule=gpipe", 2), "schedule gpipe needs pp above 1");
  EXPECT_EQ(why(model, "dp=1,pp=2,schedule=interleaved", 2),
            "schedule interleaved needs vpp 2 or more, not 1");
  EXPECT_EQ(why(model, "dp=1,pp=2,vpp=2,schedule=1f1b", 2), "schedule 1f1b needs vpp 1, not 2");
  EXPECT_EQ(why(model, "dp=1,pp=2,vpp=4,schedule=zb-v", 2), "schedule zb-v needs vpp 2, not 4");
  EXPECT_EQ(why(model, "dp=1,pp=4,vpp=2,schedule=interleaved", 4, 6),
            "micro-batches 6 not divisible by pp 4, as interleaved needs");
  EXPECT_EQ(why(model, "dp=1,pp=3,schedule=dualpipe", 3), "schedule dualpipe needs an even pp, not 3");
  EXPECT_EQ(why(model, "dp=1,pp=4,schedule=dualpipe", 4, 6),
            "schedule dualpipe needs an even number of micro-batches, 8 or more, not 6");
  EXPECT_EQ(why(model, "dp=1,pp=4,schedule=dualpipe", 4, 9),
            "schedule dualpipe needs an even number of micro-batches, 8 or more, not 9");
  EXPECT_EQ(why(model, "dp=1,pp=4,vpp=2,schedule=dualpipe-v", 4, 7),
            "schedule dualpipe-v needs enough micro-batches, 8 or more, not 7");
  EXPECT_EQ(why(model, "dp=1,pp=4,vpp=2,schedule=zb-v", 4, 7),
            "schedule zb-v needs enough micro-batches, 8 or more, not 7");
  for (const char* legal : {"gpipe", "zb-h1", "dualpipe", "zb-v,vpp=2", "dualpipe-v,vpp=2"}) {
    EXPECT_EQ(why(model, "dp=1,pp=4,schedule=" + std::string(legal), 4), "") << legal;
  }
}

TEST(Legality, Order) {
  const std::string order = ",order=tp-cp-ep-pp-dp";
  EXPECT_EQ(why(gqa(), "dp=2,pp=2" + order, 4), "");
  EXPECT_EQ(why(gqa(), "dp=4" + order, 4), "order tp-cp-ep-pp-dp needs pp and dp above 1");
  EXPECT_EQ(why(moe(), "dp=2,pp=2,tp=4,ep=4" + order, 16), "");
  EXPECT_EQ(why(moe(), "dp=2,pp=2,tp=4,ep=8" + order, 16),
            "order tp-cp-ep-pp-dp needs tp*cp 4 divisible by ep*etp 8, and hsdp 0 to fit in it");
  // edp = 6 * 6: 6 inside pp and 6 outside; shards of 4 fit neither.
  EXPECT_EQ(why(moe(), "dp=12,pp=2,cp=6,zero=1,hsdp=4,cp_kind=ring" + order, 144, 12, 4098),
            "order tp-cp-ep-pp-dp needs tp*cp 6 divisible by ep*etp 1, and hsdp 4 to fit in it");
}

TEST(Legality, RecomputeThatChangesNothing) {
  EXPECT_EQ(why(gqa(), "dp=1,recompute=moe_act", 1), "recompute moe_act needs a model with experts");
  EXPECT_EQ(why(gqa(), "dp=1,recompute=mla_up", 1), "recompute mla_up needs latent attention");
  EXPECT_EQ(why(gqa(), "dp=1,recompute=selective+attention", 1), "recompute selective is part of attention");
  EXPECT_EQ(why(moe(), "dp=1,recompute=mlp+moe_act", 1), "recompute moe_act is part of mlp");
  EXPECT_EQ(why(moe(), "dp=1,recompute=selective+moe_act+norm", 1), "");
  Model latent = moe();
  latent.kinds[0].attention.kind = AttentionKind::latent;
  EXPECT_EQ(why(latent, "dp=1,recompute=mla_up", 1), "");
  EXPECT_EQ(why(latent, "dp=1,recompute=attention+mla_up", 1), "recompute mla_up is part of attention");
  EXPECT_EQ(why(gqa(), "dp=1,pp=4,recompute=full:7", 4), "");
  EXPECT_EQ(why(gqa(), "dp=1,pp=4,recompute=full:8", 4),
            "recompute full:8 leaves no layer of a stage's 8; write full");
  EXPECT_EQ(why(gqa(30), "dp=1,pp=4,recompute=full:7", 4), "");  // 7-8-8-7: the middle stages keep one
}

TEST(Legality, NonsenseMadeByPrograms) {
  const Model model = gqa();
  const Job job{.model = &model, .global_batch = 64, .seq = 4096, .gpus = 8};
  Layout zero_ep;
  zero_ep.dp = 8;
  zero_ep.ep = 0;
  EXPECT_EQ(illegal_because(zero_ep, job),
            "every size must be from 1 to 1048576, hsdp may be 0, zero is 0 to 3");
  Layout huge;  // 2^80 ranks
  huge.dp = huge.tp = huge.pp = huge.cp = kLayoutLimit;
  EXPECT_EQ(rule_name(first_broken_rule(huge, job)), "gpus");
  Layout empty_chunk;
  empty_chunk.dp = 2;
  empty_chunk.pp = 4;
  empty_chunk.split = {8, 0, 16, 8};
  EXPECT_EQ(illegal_because(empty_chunk, job), "every entry of split must be 1 or more, 0 at the two ends");
  empty_chunk.split = {-1, 9, 16, 8};
  EXPECT_EQ(illegal_because(empty_chunk, job), "every entry of split must be 1 or more, 0 at the two ends");
  Layout both;
  both.dp = 8;
  both.recompute = {.full = true, .modules = Recompute::norm};
  EXPECT_EQ(illegal_because(both, job), "modules beside full recomputation: full covers them");
}

TEST(Legality, RulesHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (int rule = 0; rule < kRules; ++rule) names.insert(rule_name(rule));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kRules));
}

// Even; then embedding and head as a layer each; then the head alone; then smaller chunks at the ends.
TEST(DefaultSplit, ByHand) {
  using Split = std::vector<std::int32_t>;
  EXPECT_EQ(default_split(32, 4), (Split{8, 8, 8, 8}));
  EXPECT_EQ(default_split(126, 16), (Split{7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7}));  // 405B
  EXPECT_EQ(default_split(61, 2), (Split{31, 30}));  // 61 + head = 2 * 31
  EXPECT_EQ(default_split(10, 4), (Split{2, 3, 3, 2}));
  EXPECT_EQ(default_split(61, 16), (Split{3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3}));
  EXPECT_EQ(default_split(9, 8), (Split{1, 1, 1, 2, 1, 1, 1, 1}));  // smaller: 3 first, 4 last
}

TEST(Microbatches, PerStepAndRank) {
  const Job job{.model = nullptr, .global_batch = 256, .seq = 4096, .gpus = 0};
  EXPECT_EQ(microbatches(parse_layout("dp=8,cp=4,mb=2", 0), job), 16);  // 256 / (8*2)
}

}  // namespace
}  // namespace tw
