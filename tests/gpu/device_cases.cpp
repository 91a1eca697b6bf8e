#include "tests/gpu/device_cases.hpp"

#include <cstdio>

namespace tw::train {

Model device_model(const std::string& name) {
  Model model;
  model.name = name, model.family = "llama";
  model.hidden = 128, model.vocab = 250;
  model.tied_embeddings = name.starts_with("tied");
  LayerKind dense;
  dense.attention = {.heads = 4, .kv_heads = 2, .head_dim = 64, .value_dim = 64};
  dense.mlp = Mlp{.ffn = 256};
  LayerKind routed = dense;
  routed.mlp.reset();
  routed.moe = Moe{.experts = 8, .top_k = 2, .ffn = 64};
  if (name == "moe") routed.moe->ffn = 128;  // of a width that the kernel of product and activation takes
  if (name == "shared") {
    dense.attention.qk_norm = routed.attention.qk_norm = QkNorm::head;
    routed.moe->shared_ffn = 64;
  }
  for (int i = 0; i < 4; ++i)
    add_layer(model, (name == "moe" || (name == "shared" && i > 0)) ? routed : dense);
  return model;
}

ProgramInput device_input(const DeviceCase& one) {
  ProgramInput input;
  input.layout = parse_layout(one.layout, one.ranks);
  input.model = device_model(one.model);
  input.profile = load_profile("trainwright");
  input.profile.kernels.vocab_multiple = 16;
  input.profile.kernels.loss_rows = 96;  // several chunks, the last with fewer
  input.job.gpus = one.ranks, input.job.global_batch = 8, input.job.seq = 128;
  return input;
}

Settings device_settings(const std::string& model) {
  Settings settings;
  settings.initial_deviation = 0.08, settings.learning_rate = 1e-3;
  settings.balance = model == "moe" ? 0.01 : 0;
  return settings;
}

std::vector<DeviceCase> suite_for(std::int32_t ranks) {
  const std::vector<std::string> one = {"dp=1,mb=1", "dp=1,mb=4", "dp=1,mb=2,recompute=full",
                                        "dp=1,mb=2,recompute=selective"};
  const std::vector<std::string> two = {"dp=2,mb=2",
                                        "dp=2,zero=1,mb=2",
                                        "dp=2,zero=2,mb=2",
                                        "dp=2,zero=3,mb=2",
                                        "dp=2,zero=3,mb=1,recompute=full",
                                        "tp=2,sp=0,mb=2",
                                        "tp=2,sp=1,mb=2",
                                        "tp=2,sp=1,mb=4,recompute=selective",
                                        "pp=2,mb=1",
                                        "pp=2,mb=2,schedule=gpipe",
                                        "pp=2,vpp=2,mb=1,schedule=interleaved",
                                        "pp=2,mb=1,schedule=zb-h1",
                                        "pp=2,vpp=2,mb=1,schedule=zb-v",
                                        "cp=2,cp_kind=a2a,mb=1",
                                        "cp=2,cp_kind=a2a,mb=2",
                                        "cp=2,cp_kind=ring,mb=1",
                                        "cp=2,cp_kind=ring,zero=1,mb=2",
                                        "cp=2,mb=1",
                                        "cp=2,zero=3,mb=2",
                                        "cp=2,mb=2,recompute=full",
                                        "cp=2,mb=4,recompute=selective"};
  const std::vector<std::string> two_routed = {"dp=2,ep=2,mb=2",
                                               "dp=2,ep=2,zero=1,mb=2",
                                               "dp=2,ep=2,zero=3,mb=1",
                                               "tp=2,sp=1,ep=2,mb=2",
                                               "cp=2,cp_kind=a2a,ep=2",
                                               "cp=2,ep=2,mb=2",
                                               "dp=2,ep=2,mb=1,recompute=full",
                                               "dp=2,ep=2,mb=2,recompute=moe_act",
                                               "dp=2,etp=2,mb=2",
                                               "dp=2,etp=2,zero=3,mb=1,recompute=full",
                                               "tp=2,sp=1,etp=2,mb=2",
                                               "tp=2,sp=0,etp=2,mb=4,recompute=moe_act",
                                               "cp=2,etp=2,mb=2"};
  const std::vector<std::string> four = {"dp=2,tp=2,sp=1,mb=2,zero=3",
                                         "dp=2,tp=2,sp=0,mb=2,zero=1",
                                         "tp=2,sp=1,pp=2,mb=1",
                                         "dp=2,pp=2,mb=1,zero=2",
                                         "dp=4,hsdp=2,zero=3,mb=1",
                                         "tp=4,sp=1,mb=2",
                                         "pp=4,mb=1",
                                         "dp=2,cp=2,cp_kind=a2a,mb=2,zero=3",
                                         "cp=4,mb=2",
                                         "cp=4,cp_kind=ring,mb=2",
                                         "cp=2,tp=2,sp=1,mb=2",
                                         "cp=2,pp=2,mb=1",
                                         "pp=2,tp=2,sp=1,vpp=2,mb=1,schedule=interleaved",
                                         "pp=4,mb=1,schedule=dualpipe"};
  const std::vector<std::string> four_routed = {"dp=4,ep=4,mb=1",
                                                "dp=2,tp=2,sp=1,ep=2,mb=2,zero=1",
                                                "dp=2,pp=2,ep=2,mb=1",
                                                "dp=4,ep=2,etp=2,zero=3,mb=1",
                                                "dp=2,tp=2,sp=1,ep=2,etp=2,mb=2",
                                                "dp=2,cp=2,ep=2,etp=2,mb=1,recompute=full"};
  std::vector<DeviceCase> out;
  const auto add = [&](const std::vector<std::string>& models, const std::vector<std::string>& layouts) {
    for (const std::string& model : models) {
      for (const std::string& layout : layouts) {
        const DeviceCase each{model, layout, ranks};
        const ProgramInput input = device_input(each);
        Job job = input.job;
        job.model = &input.model;
        const std::string why = illegal_because(input.layout, job);
        if (!why.empty()) std::printf("not legal: %s %s: %s\n", model.c_str(), layout.c_str(), why.c_str());
        if (why.empty()) out.push_back(each);
      }
    }
  };
  const std::vector<std::string> all = {"dense", "tied", "moe", "shared"};
  if (ranks == 1) add(all, one);
  if (ranks == 2) add(all, two), add({"moe", "shared"}, two_routed);
  if (ranks == 4) add({"dense", "tied", "shared"}, four), add({"moe", "shared"}, four_routed);
  return out;
}

std::vector<ResumedCase> resumed_suite_for(std::int32_t ranks) {
  if (ranks == 1) return {{"tied", "dp=1,mb=1", "dp=1,mb=4", 1}, {"moe", "dp=1,mb=2", "dp=1,mb=2", 1}};
  if (ranks == 2)
    return {{"dense", "dp=2,zero=1,mb=2", "dp=2,zero=1,mb=2", 2},
            {"dense", "dp=2,zero=3,mb=2", "tp=2,sp=1,mb=2", 2},
            {"tied", "pp=2,vpp=2,mb=1,schedule=zb-v", "cp=2,zero=1,mb=2", 2},
            {"shared", "dp=2,ep=2,zero=3,mb=1", "tp=2,sp=1,etp=2,mb=2", 2},
            {"moe", "cp=2,etp=2,mb=2", "pp=2,mb=1", 2}};
  if (ranks == 4)
    return {{"tied", "dp=2,pp=2,mb=1,zero=2", "dp=4,hsdp=2,zero=3,mb=1", 4},
            {"shared", "dp=4,ep=2,etp=2,zero=3,mb=1", "dp=2,cp=2,ep=4,mb=1", 4}};
  return {};
}

}  // namespace tw::train
