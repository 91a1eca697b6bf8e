// What each family makes of its config.json: shipped models field by field, then the keys that turn
// parts on, off or over from layer to layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costmodel/model.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

Model read(const std::string& text) {
  return read_model(parse_json(text, "config.json"), "test");
}

// A config with further keys: `keys` begins with a comma.
std::string llama(const std::string& keys) {
  return R"({"model_type":"llama","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,
             "num_hidden_layers":2,"vocab_size":100)" +
         keys + "}";
}
std::string qwen2(const std::string& keys) {
  return R"({"model_type":"qwen2","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,
             "num_key_value_heads":2,"num_hidden_layers":4,"vocab_size":100)" +
         keys + "}";
}
std::string qwen2_moe(const std::string& keys) {
  return R"({"model_type":"qwen2_moe","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,
             "num_key_value_heads":2,"num_hidden_layers":4,"vocab_size":100,"num_experts":8,
             "num_experts_per_tok":2,"moe_intermediate_size":32,"shared_expert_intermediate_size":96)" +
         keys + "}";
}
std::string deepseek(const std::string& type, const std::string& keys) {
  return R"({"hidden_size":64,"intermediate_size":128,"num_attention_heads":4,"num_hidden_layers":6,
             "vocab_size":100,"n_routed_experts":16,"num_experts_per_tok":4,"moe_intermediate_size":32,
             "n_shared_experts":2,"qk_nope_head_dim":16,"qk_rope_head_dim":8,"v_head_dim":12,
              "kv_lora_rank":20,
             "model_type":")" +
         type + "\"" + keys + "}";
}
std::string gpt_oss(const std::string& keys) {
  return R"({"model_type":"gpt_oss","hidden_size":64,"intermediate_size":48,"num_attention_heads":8,
             "num_key_value_heads":2,"num_hidden_layers":4,"vocab_size":100,"num_local_experts":8,
             "num_experts_per_tok":2)" +
         keys + "}";
}

Model trunk(const char* name, const char* family, std::int32_t hidden, std::int32_t vocab) {
  Model model;
  model.name = name;
  model.family = family;
  model.hidden = hidden;
  model.vocab = vocab;
  return model;
}

std::vector<int> windows(const Model& model) {
  std::vector<int> out;
  for (int i = 0; i < model.layers(); ++i) out.push_back(model.layer(i).attention.window);
  return out;
}
std::string sparse(const Model& model) {
  std::string out;
  for (int i = 0; i < model.layers(); ++i) out += model.layer(i).moe ? 'E' : 'd';
  return out;
}

TEST(Families, ThereIsARowForEachArchitecture) {
  EXPECT_EQ(names_of(all_families()),
            "llama, mistral, mixtral, qwen2, qwen2_moe, qwen3, qwen3_moe, deepseek_v2, deepseek_v3, "
            "glm4_moe, nemotron_h, gpt_oss, olmoe, gpt2, gpt_neox");
}

TEST(Families, ShippedModelsLoadByName) {
  EXPECT_THAT(
      scenario_names("models"),
      testing::ElementsAre("deepseek-v2-lite", "deepseek-v3", "glm-4.5-air", "gpt-oss-120b", "gpt-oss-20b",
                           "gpt3-175b", "llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "llama-3.2-1b",
                           "megatron-1t", "mixtral-8x22b", "mixtral-8x7b", "nemotron-3-nano-30b-a3b",
                           "olmoe-1b-7b", "qwen2-57b-a14b", "qwen2.5-72b", "qwen3-0.6b", "qwen3-14b",
                           "qwen3-235b-a22b", "qwen3-30b-a3b", "qwen3-32b", "tiny-dense", "tiny-moe"));
  for (const std::string& name : scenario_names("models")) {
    const Model model = load_model(name);
    EXPECT_EQ(model.name, name);
    EXPECT_FALSE(model.family.empty());
    const bool hybrid = model.family == "nemotron_h";  // layers of a mixer or a feed-forward alone
    for (const LayerKind& kind : model.kinds)
      EXPECT_TRUE(hybrid || kind.mlp.has_value() != kind.moe.has_value()) << name;
  }
}

TEST(Families, Llama31Of405B) {
  const Model model = load_model("llama-3.1-405b");
  Model golden = trunk("llama-3.1-405b", "llama", 16384, 128256);
  golden.kinds = {{{.heads = 128, .kv_heads = 8, .head_dim = 128, .value_dim = 128}, Mlp{.ffn = 53248}, {}}};
  golden.layer_kind.assign(126, 0);
  EXPECT_EQ(model, golden);
  EXPECT_FALSE(model.has_moe());
  EXPECT_TRUE(load_model("llama-3.2-1b").tied_embeddings);
}

TEST(Families, Mixtral8x22B) {
  const Model model = load_model("mixtral-8x22b");
  Model golden = trunk("mixtral-8x22b", "mixtral", 6144, 32000);
  golden.kinds = {{{.heads = 48, .kv_heads = 8, .head_dim = 128, .value_dim = 128},
                   {},
                   Moe{.experts = 8, .top_k = 2, .ffn = 16384}}};
  golden.layer_kind.assign(56, 0);
  EXPECT_EQ(model, golden);
}

TEST(Families, DeepSeekV3) {
  const Model model = load_model("deepseek-v3");
  const Attention attention{.kind = AttentionKind::latent,
                            .heads = 128,
                            .kv_heads = 128,
                            .head_dim = 192,
                            .value_dim = 128,
                            .q_rank = 1536,
                            .kv_rank = 512,
                            .rope_dim = 64};
  Model golden = trunk("deepseek-v3", "deepseek_v3", 7168, 129280);
  golden.mtp_layers = 1;
  golden.kinds = {{attention, Mlp{.ffn = 18432}, {}},
                  {attention,
                   {},
                   Moe{.experts = 256,
                       .top_k = 8,
                       .ffn = 2048,
                       .router_bias = true,
                       .shared_ffn = 2048,
                       .groups = 8,
                       .group_limit = 4}}};
  golden.layer_kind.assign(61, 1);
  golden.layer_kind[0] = golden.layer_kind[1] = golden.layer_kind[2] = 0;
  EXPECT_EQ(model, golden);
}

TEST(Families, DeepSeekV2LiteProjectsQueriesDirectlyAndRoutesFreely) {
  const Model model = load_model("deepseek-v2-lite");
  EXPECT_EQ(model.kinds[0].attention.q_rank, 0);
  EXPECT_EQ(model.kinds[0].mlp, Mlp{.ffn = 10944});
  EXPECT_EQ(model.kinds[1].moe, (Moe{.experts = 64, .top_k = 6, .ffn = 1408, .shared_ffn = 2816}));
  EXPECT_EQ(sparse(model), "d" + std::string(26, 'E'));
}

TEST(Families, GptOss120BAlternatesWindows) {
  const Model model = load_model("gpt-oss-120b");
  Attention attention{.heads = 64,
                      .kv_heads = 8,
                      .head_dim = 64,
                      .value_dim = 64,
                      .qkv_bias = true,
                      .out_bias = true,
                      .sinks = true,
                      .window = 128};
  const Moe moe{.experts = 128, .top_k = 4, .ffn = 2880, .bias = true, .router_bias = true};
  EXPECT_EQ(model.kinds[0], (LayerKind{attention, {}, moe}));
  attention.window = 0;
  EXPECT_EQ(model.kinds[1], (LayerKind{attention, {}, moe}));
  EXPECT_EQ(model.layers(), 36);
  EXPECT_EQ(model.layer_kind[34], 0);
  EXPECT_EQ(model.layer_kind[35], 1);
}

TEST(Families, QwenShapes) {
  const Model dense = load_model("qwen3-14b");
  EXPECT_EQ(
      dense.kinds[0].attention,
      (Attention{.heads = 40, .kv_heads = 8, .head_dim = 128, .value_dim = 128, .qk_norm = QkNorm::head}));
  const Model moe = load_model("qwen3-235b-a22b");  // 64 heads of 128: twice the width of 4096
  EXPECT_EQ(moe.kinds[0].attention.head_dim, 128);
  EXPECT_EQ(*moe.moe(), (Moe{.experts = 128, .top_k = 8, .ffn = 1536}));
  const Model shared = load_model("qwen2-57b-a14b");
  EXPECT_TRUE(shared.kinds[0].attention.qkv_bias);
  EXPECT_FALSE(shared.kinds[0].attention.out_bias);
  EXPECT_EQ(shared.kinds[0].attention.window, 0);  // sliding_window is there, use_sliding_window is off
  EXPECT_EQ(*shared.moe(),
            (Moe{.experts = 64, .top_k = 8, .ffn = 2560, .shared_ffn = 20480, .shared_gate = true}));
}

TEST(Families, OlmoeNormsAllHeadsTogether) {
  const Model model = load_model("olmoe-1b-7b");
  EXPECT_EQ(model.kinds[0].attention.qk_norm, QkNorm::full);
  EXPECT_EQ(*model.moe(), (Moe{.experts = 64, .top_k = 8, .ffn = 1024}));
}

TEST(Families, GptModelsHaveBiasesLayerNormsAndLearnedPositions) {
  const Model model = load_model("gpt3-175b");
  EXPECT_EQ(model.kinds[0], (LayerKind{{.heads = 96,
                                        .kv_heads = 96,
                                        .head_dim = 128,
                                        .value_dim = 128,
                                        .qkv_bias = true,
                                        .out_bias = true},
                                       Mlp{.ffn = 49152, .gated = false, .bias = true},
                                       {}}));
  EXPECT_EQ(model.norm, NormKind::layer);
  EXPECT_EQ(model.positions, Positions::learned);
  EXPECT_EQ(model.max_positions, 2048);
  EXPECT_TRUE(model.tied_embeddings);
  EXPECT_EQ(load_model("megatron-1t").kinds[0].attention.head_dim, 160);
}

TEST(Families, GptNeoxIsRotaryWithALayerNorm) {
  const Model model = read(R"({"model_type":"gpt_neox","hidden_size":64,"intermediate_size":256,
      "num_attention_heads":4,"num_hidden_layers":2,"vocab_size":100,"attention_bias":false})");
  EXPECT_EQ(model.positions, Positions::rotary);
  EXPECT_EQ(model.norm, NormKind::layer);
  EXPECT_FALSE(model.kinds[0].attention.qkv_bias);
  EXPECT_FALSE(model.tied_embeddings);
  EXPECT_EQ(model.max_positions, 0);
}

TEST(Families, LlamaDefaultsAndBiases) {
  const Attention plain = read(llama("")).kinds[0].attention;
  EXPECT_EQ(plain, (Attention{.heads = 8, .kv_heads = 8, .head_dim = 8, .value_dim = 8}));
  EXPECT_EQ(read(llama(R"(,"num_key_value_heads":null)")).kinds[0].attention.kv_heads, 8);
  EXPECT_EQ(read(llama(R"(,"head_dim":24)")).kinds[0].attention.value_dim, 24);
  const LayerKind biased = read(llama(R"(,"attention_bias":true,"mlp_bias":true)")).kinds[0];
  EXPECT_TRUE(biased.attention.qkv_bias && biased.attention.out_bias && biased.mlp->bias);
  EXPECT_TRUE(read(llama(R"(,"tie_word_embeddings":true)")).tied_embeddings);
}

TEST(Families, KeysThatLeaveTheShapeAloneChangeNothing) {
  EXPECT_EQ(read(llama(R"(,"_note":"x","rope_theta":5e5,"torch_dtype":"bfloat16","eos_token_id":[1,2],
                          "quantization_config":{"quant_method":"fp8"},"rope_scaling":null,"use_cache":true,
                          "transformers_version":"4.57.1","architectures":["LlamaForCausalLM"])")),
            read(llama("")));
}

TEST(Families, MistralWindowIs4096UnlessNull) {
  const std::string head = R"({"model_type":"mistral","hidden_size":64,"intermediate_size":128,
      "num_attention_heads":8,"num_hidden_layers":2,"vocab_size":100)";
  EXPECT_THAT(windows(read(head + "}")), testing::ElementsAre(4096, 4096));
  EXPECT_THAT(windows(read(head + R"(,"sliding_window":512})")), testing::ElementsAre(512, 512));
  EXPECT_THAT(windows(read(head + R"(,"sliding_window":null})")), testing::ElementsAre(0, 0));
  EXPECT_EQ(read(head + "}").kinds[0].attention.kv_heads, 8);
}

TEST(Families, QwenWindowsFollowTheirSwitch) {
  EXPECT_THAT(windows(read(qwen2(R"(,"sliding_window":16)"))), testing::ElementsAre(0, 0, 0, 0));
  const std::string on = R"(,"sliding_window":16,"use_sliding_window":true)";
  EXPECT_THAT(windows(read(qwen2(on + R"(,"max_window_layers":3)"))), testing::ElementsAre(0, 0, 0, 16));
  EXPECT_THAT(windows(read(qwen2(on + R"(,"layer_types":["sliding_attention","full_attention",
      "full_attention","sliding_attention"])"))),
              testing::ElementsAre(16, 0, 0, 16));
  EXPECT_THAT(windows(read(qwen2_moe(on + R"(,"max_window_layers":2)"))), testing::ElementsAre(16, 0, 0, 0));
}

TEST(Families, QwenDenseLayersBetweenMoeLayers) {
  EXPECT_EQ(sparse(read(qwen2_moe(""))), "EEEE");
  EXPECT_EQ(sparse(read(qwen2_moe(R"(,"decoder_sparse_step":2)"))), "dEdE");  // (i + 1) % 2 == 0
  EXPECT_EQ(sparse(read(qwen2_moe(R"(,"mlp_only_layers":[0,3])"))), "dEEd");
  EXPECT_EQ(read(qwen2_moe(R"(,"mlp_only_layers":[0])")).kinds[0].mlp, Mlp{.ffn = 128});
}

TEST(Families, DeepSeekDenseLayersAndGroups) {
  const std::string first = R"(,"first_k_dense_replace":1,"moe_layer_freq":2)";
  EXPECT_EQ(sparse(read(deepseek("deepseek_v2", first))), "ddEdEd");  // from layer 1, even ones
  const std::string groups = R"(,"n_group":4,"topk_group":2)";
  EXPECT_EQ(read(deepseek("deepseek_v2", groups)).moe()->groups, 1);  // greedy
  const Model limited = read(deepseek("deepseek_v2", groups + R"(,"topk_method":"group_limited_greedy")"));
  EXPECT_EQ(limited.moe()->groups, 4);
  EXPECT_EQ(limited.moe()->group_limit, 2);
  EXPECT_FALSE(limited.moe()->router_bias);
  EXPECT_EQ(limited.moe()->shared_ffn, 64);
  EXPECT_EQ(limited.kinds[0].attention.q_rank, 1536);
  const Model v3 =
      read(deepseek("deepseek_v3", groups + R"(,"q_lora_rank":null,"head_dim":8,"qk_head_dim":24)"));
  EXPECT_EQ(v3.kinds[0].attention.q_rank, 0);
  EXPECT_TRUE(v3.moe()->router_bias);
  EXPECT_EQ(v3.mtp_layers, 0);
  EXPECT_EQ(sparse(v3), "dddEEE");  // the first three, where the key is left out
}

TEST(Families, GptOssDefaults) {
  const Model model = read(gpt_oss(""));
  EXPECT_THAT(windows(model), testing::ElementsAre(128, 0, 128, 0));
  EXPECT_EQ(model.kinds[0].attention.head_dim, 64);
  EXPECT_TRUE(model.kinds[0].attention.qkv_bias);
  EXPECT_THAT(windows(read(gpt_oss(R"(,"sliding_window":null)"))), testing::Each(0));
}

TEST(Families, ModelsAreNamedAfterTheirFileOrItsFolder) {
  EXPECT_EQ(load_model(scenarios_folder() + "/models/qwen3-14b.json").name, "qwen3-14b");
  const std::string folder = testing::TempDir() + "my-llama";
  std::string made = folder + "/config.json";
  ASSERT_EQ(std::system(("mkdir -p '" + folder + "'").c_str()), 0);
  write_file(made, llama(""));
  EXPECT_EQ(load_model(made).name, "my-llama");
}

}  // namespace
}  // namespace tw
