// Broken config.json files: each is refused in one line that names the file, the key and what is legal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "costmodel/model.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& text) {
  try {
    read_model(parse_json(text, "broken.json"), "test");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

// `good` with the value of one key replaced; an empty value takes the key out.
std::string with(std::string text, const std::string& key, const std::string& value) {
  const std::size_t at = text.find("\"" + key + "\":");
  if (at == std::string::npos) return text.insert(1, "\"" + key + "\":" + value + ",");
  const std::size_t end = text.find_first_of(",}", at);
  if (value.empty())
    return text[end] == ',' ? text.erase(at, end + 1 - at) : text.erase(at - 1, end + 1 - at);
  return text.replace(at, end - at, "\"" + key + "\":" + value);
}

const std::string kLlama =
    R"({"model_type":"llama","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,)"
    R"("num_key_value_heads":4,"num_hidden_layers":2,"vocab_size":100})";
const std::string kMixtral =
    R"({"model_type":"mixtral","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,)"
    R"("num_key_value_heads":4,"num_hidden_layers":2,"num_local_experts":8,"num_experts_per_tok":2,)"
    R"("vocab_size":100})";
const std::string kQwenMoe =
    R"({"model_type":"qwen3_moe","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,)"
    R"("num_key_value_heads":4,"num_hidden_layers":2,"num_experts":8,"num_experts_per_tok":2,)"
    R"("moe_intermediate_size":32,"vocab_size":100})";
const std::string kDeepSeek =
    R"({"model_type":"deepseek_v3","hidden_size":64,"intermediate_size":128,"num_attention_heads":8,)"
    R"("num_hidden_layers":4,"n_routed_experts":16,"n_group":4,"topk_group":2,"num_experts_per_tok":4,)"
    R"("moe_intermediate_size":32,"qk_nope_head_dim":16,"qk_rope_head_dim":8,"v_head_dim":16,)"
    R"("kv_lora_rank":32,"n_shared_experts":null,"vocab_size":100})";
const std::string kGptOss =
    R"({"model_type":"gpt_oss","hidden_size":64,"intermediate_size":64,"num_attention_heads":8,)"
    R"("num_key_value_heads":4,"num_hidden_layers":2,"num_local_experts":8,"num_experts_per_tok":2,)"
    R"("vocab_size":100})";
const std::string kGpt2 =
    R"({"model_type":"gpt2","n_embd":64,"n_head":8,"n_layer":2,"n_positions":128,"vocab_size":100})";

struct Broken {
  std::string text;
  std::string place;  // "broken.json: KEY"
  std::string says;
};

void expect_refused(const std::vector<Broken>& rows) {
  for (const Broken& row : rows) {
    const std::string line = refusal(row.text);
    EXPECT_THAT(line, testing::StartsWith("broken.json: " + row.place)) << row.text;
    EXPECT_THAT(line, HasSubstr(row.says)) << row.text;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_LT(line.size(), 400u) << line;
  }
}

TEST(ConfigRefusals, TheWholeOnesAreAccepted) {
  for (const std::string& text : {kLlama, kMixtral, kQwenMoe, kDeepSeek, kGptOss, kGpt2}) {
    EXPECT_EQ(refusal(text), "accepted");
  }
}

TEST(ConfigRefusals, Architectures) {
  expect_refused({
      {with(kLlama, "model_type", "\"bert\""), "model_type",
       "unknown architecture \"bert\"; known: llama, mistral"},
      {with(kLlama, "model_type", "\"Llama\""), "model_type", "unknown architecture"},
      {with(kLlama, "model_type", ""), "", "missing key \"model_type\""},
      {with(kLlama, "model_type", "null"), "", "missing key \"model_type\""},
      {with(kLlama, "model_type", "7"), "model_type", "must be a string"},
      {with(kLlama, "architectures", "[\"LlamaForSequenceClassification\"]"), "architectures[0]",
       "language model"},
      {with(kLlama, "architectures", "\"LlamaForCausalLM\""), "architectures", "must be a list"},
      {with(kGpt2, "add_cross_attention", "true"), "add_cross_attention", "must be false"},
  });
}

TEST(ConfigRefusals, UnknownAndMissingKeys) {
  expect_refused({
      {with(kLlama, "num_experts", "8"), "num_experts", "not understood"},
      {with(kLlama, "use_qk_norm", "true"), "use_qk_norm", "not understood"},
      {with(kLlama, "hidden_sise", "64"), "hidden_sise", "not understood"},
      {with(kMixtral, "shared_expert_intermediate_size", "64"), "shared_expert_intermediate_size",
       "not understood"},
      {with(kDeepSeek, "index_topk", "2048"), "index_topk", "not understood"},
      {with(kLlama, "hidden_size", ""), "hidden_size", "missing key"},
      {with(kLlama, "vocab_size", ""), "vocab_size", "missing key"},
      {with(kLlama, "num_hidden_layers", "null"), "num_hidden_layers", "missing key"},
      {with(kMixtral, "num_local_experts", ""), "num_local_experts", "missing key"},
      {with(kDeepSeek, "kv_lora_rank", ""), "kv_lora_rank", "missing key"},
      {with(kDeepSeek, "topk_group", ""), "topk_group", "missing key"},
      {with(kDeepSeek, "n_shared_experts", ""), "n_shared_experts", "missing key"},
      {with(kGpt2, "n_positions", ""), "n_positions", "missing key"},
  });
}

TEST(ConfigRefusals, WrongTypes) {
  expect_refused({
      {with(kLlama, "hidden_size", "\"64\""), "hidden_size", "must be a whole number, is"},
      {with(kLlama, "hidden_size", "64.5"), "hidden_size", "must be a whole number"},
      {with(kLlama, "num_hidden_layers", "[2]"), "num_hidden_layers", "must be a whole number"},
      {with(kLlama, "tie_word_embeddings", "1"), "tie_word_embeddings", "must be true or false"},
      {with(kLlama, "attention_bias", "\"yes\""), "attention_bias", "must be true or false"},
      {with(kQwenMoe, "mlp_only_layers", "3"), "mlp_only_layers", "must be a list"},
      {with(kQwenMoe, "mlp_only_layers", "[\"a\"]"), "mlp_only_layers[0]", "must be a whole number"},
      {with(kGptOss, "layer_types", "\"full_attention\""), "layer_types", "must be a list"},
      {with(kDeepSeek, "topk_method", "5"), "topk_method", "must be a string"},
      {"[]", "", "must be an object"},
      {"3", "", "must be an object"},
  });
}

TEST(ConfigRefusals, SizesOutOfRange) {
  const std::string range = "must be a whole number from 1 to 16777216";
  expect_refused({
      {with(kLlama, "num_hidden_layers", "0"), "num_hidden_layers", range},
      {with(kLlama, "num_hidden_layers", "4097"), "num_hidden_layers", "at most 4096"},
      {with(kLlama, "hidden_size", "-64"), "hidden_size", range},
      {with(kLlama, "vocab_size", "0"), "vocab_size", range},
      {with(kLlama, "intermediate_size", "4294967296"), "intermediate_size", range},
      {with(kLlama, "intermediate_size", "9223372036854775807"), "intermediate_size", range},
      {with(kLlama, "intermediate_size", "92233720368547758070"), "", "int64"},
      {with(kLlama, "num_key_value_heads", "0"), "num_key_value_heads", range},
      {with(kLlama, "head_dim", "16777216"), "num_attention_heads", "at most 16777216"},
      {with(with(kMixtral, "num_local_experts", "16000000"), "intermediate_size", "16000000"), "",
       "parameters in all"},
      {with(kGpt2, "n_layer", "1000000"), "n_layer", "at most 4096"},
      {with(kQwenMoe, "decoder_sparse_step", "0"), "decoder_sparse_step", range},
      {with(kDeepSeek, "n_shared_experts", "1000000"), "n_shared_experts", "too wide"},
      {with(kDeepSeek, "num_nextn_predict_layers", "-1"), "num_nextn_predict_layers", "from 0 to"},
  });
}

TEST(ConfigRefusals, SizesThatDoNotFitEachOther) {
  expect_refused({
      {with(kLlama, "num_attention_heads", "12"), "num_attention_heads", "must divide the width 64, is 12"},
      {with(kLlama, "num_key_value_heads", "3"), "num_key_value_heads",
       "must divide num_attention_heads 8, is 3"},
      {with(kLlama, "num_key_value_heads", "16"), "num_key_value_heads", "must divide"},
      {with(kGpt2, "n_head", "7"), "n_head", "must divide the width 64, is 7"},
      {with(kMixtral, "num_experts_per_tok", "9"), "num_experts_per_tok", "at most the 8 experts"},
      {with(kDeepSeek, "num_experts_per_tok", "9"), "num_experts_per_tok",
       "at most the 8 experts"},  // 2 of 4 groups
      {with(kDeepSeek, "n_group", "3"), "n_group", "must divide n_routed_experts 16, is 3"},
      {with(kDeepSeek, "topk_group", "5"), "topk_group", "at most n_group 4"},
      {with(kDeepSeek, "first_k_dense_replace", "5"), "first_k_dense_replace", "at most the 4 layers"},
      {with(kDeepSeek, "num_key_value_heads", "4"), "num_key_value_heads", "must be 8"},
      {with(kDeepSeek, "attention_bias", "true"), "attention_bias", "must be false"},
      {with(kDeepSeek, "topk_method", "\"greedy\""), "topk_method", "understood: noaux_tc"},
      {with(kQwenMoe, "mlp_only_layers", "[2]"), "mlp_only_layers[0]", "below the 2 layers"},
      {with(kGptOss, "experts_per_token", "4"), "experts_per_token", "must be 2"},
      {with(kGptOss, "layer_types", R"(["full_attention"])"), "layer_types", "each of the 2 layers, has 1"},
      {with(kGptOss, "layer_types", R"(["full_attention","linear_attention"])"), "layer_types[1]",
       "unknown \"linear_attention\""},
  });
}

TEST(ConfigRefusals, TextThatIsNoConfig) {
  std::string deep = "{\"model_type\":";
  for (int i = 0; i < 200'000; ++i) deep += "[";
  expect_refused({
      {"", "", "not valid JSON"},
      {kLlama.substr(0, 60), "", "not valid JSON"},
      {kLlama + "}", "", "not valid JSON"},
      {R"({"hidden_size":64,"hidden_size":128})", "", "duplicate key hidden_size"},
      {deep, "", "deeper than 64"},
      {"{\"model_type\":\"llama\xff\"}", "", "UTF-8"},
      {with(kLlama, "bad\\u0007key", "1"), "bad\\x07key", "not understood"},
      {with(kLlama, std::string(5000, 'k'), "1"), "kkk", "not understood"},
      {with(kLlama, "model_type", "\"" + std::string(100'000, 'x') + "\""), "model_type",
       "unknown architecture"},
  });
}

TEST(ConfigRefusals, EveryTruncationIsRefusedOrRead) {
  for (std::size_t length = 0; length < kDeepSeek.size(); ++length) {
    EXPECT_THAT(refusal(kDeepSeek.substr(0, length)), HasSubstr("broken.json")) << length;
  }
}

TEST(ConfigRefusals, FilesAndNamesThatAreNotThere) {
  const auto loading = [](const std::string& name) -> std::string {
    try {
      load_model(name);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(loading("llama-9"), HasSubstr("no such name in scenarios/models"));
  EXPECT_THAT(loading("llama-9"), HasSubstr("llama-3.1-8b"));
  EXPECT_THAT(loading("/nowhere/config.json"), HasSubstr("/nowhere/config.json: cannot read"));
  EXPECT_THAT(loading(testing::TempDir()), HasSubstr("is a directory"));
}

}  // namespace
}  // namespace tw
