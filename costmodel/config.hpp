// A Hugging Face config.json read strictly: every key is either read by the family or known to leave
// shapes, bytes and FLOPs alone; any other is refused by name. Sizes that every published config
// carries are required; other keys take the default of the configuration class of transformers 4.57.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "costmodel/model.hpp"
#include "topology/json.hpp"

namespace tw {

class Config {
 public:
  explicit Config(const JsonView& root);

  bool has(std::string_view key) const;     // null counts as there
  std::int32_t size(std::string_view key);  // required; from 1
  std::int32_t size(std::string_view key, std::int32_t absent);
  std::int32_t count(std::string_view key, std::int32_t absent);  // from 0; null as absent
  // null is a choice of its own in Hugging Face ("none", "as many as heads"), apart from absent.
  std::optional<std::int32_t> size_or_null(std::string_view key, std::optional<std::int32_t> absent);
  bool flag(std::string_view key, bool absent);
  std::string choice(std::string_view key, std::string_view absent, const std::vector<std::string>& legal);
  // One letter per layer, of those that are legal.
  std::string pattern(std::string_view key, std::string_view legal, std::int32_t length);
  std::vector<std::int32_t> indices(std::string_view key, std::int32_t below);
  // Per layer, true where "sliding_attention"; nothing where the key is absent or null.
  std::optional<std::vector<bool>> sliding_layers(std::int32_t layers);
  // A key that some exports repeat: where it is there, it must have this value.
  void repeated(std::string_view key, std::int32_t value, std::string_view meaning);

  void refuse_unread() const;
  [[noreturn]] void fail(std::string_view key, std::string_view message) const;

 private:
  std::optional<JsonView> take(std::string_view key);
  std::int32_t whole(const JsonView& node, std::int32_t low) const;

  JsonView root_;
  std::set<std::string, std::less<>> read_;
};

// Sizes that are legal one by one may be absurd together; below the limit, counts stay exact.
void refuse_impossible_totals(const Config& config, const Model& model);

// The `read` of a registry row: the family's own function between strict checks.
template <Model (*Read)(Config&)>
Model read_strictly(const JsonView& root) {
  Config config(root);
  Model model = Read(config);
  config.refuse_unread();
  refuse_impossible_totals(config, model);
  return model;
}

}  // namespace tw
