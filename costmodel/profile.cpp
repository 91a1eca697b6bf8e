#include "costmodel/profile.hpp"

#include <algorithm>
#include <filesystem>

#include "topology/registry.hpp"

namespace tw {
namespace {

void check_names(const JsonView& file, const Profile& profile) {
  const auto can = [&](const char* list, std::size_t i) { return file.at("can").at(list)[i]; };
  for (std::size_t i = 0; i < profile.can.schedules.size(); ++i) {
    const auto known = schedule_names();
    if (std::find(known.begin(), known.end(), profile.can.schedules[i]) == known.end()) {
      can("schedules", i).fail("unknown schedule; known: " + joined({known.begin(), known.end()}));
    }
  }
  for (std::size_t i = 0; i < profile.can.zero.size(); ++i) {
    if (profile.can.zero[i] < 0 || profile.can.zero[i] > 3) can("zero", i).fail("must be 0, 1, 2 or 3");
  }
  if (!profile.can.stage_ends->empty() && profile.can.stage_ends->size() != 2)
    file.at("can").at("stage_ends").fail("must be two counts: modules before and after the layers");
  for (const std::string& option : profile.can.recompute) parse_recompute(option);
  const auto fraction = [&](const char* key, double value) {
    if (!(value >= 0 && value < 1)) file.at(key).fail("must be at least 0 and below 1");
  };
  if (profile.kernels.vocab_multiple < 1) file.at("kernels").at("vocab_multiple").fail("must be at least 1");
  if (profile.state.gather_calls < 1) file.at("state").at("gather_calls").fail("must be at least 1");
  if (profile.kernels.gathered_logits && *profile.kernels.loss == LossKernel::row_chunks) {
    file.at("kernels").at("gathered_logits").fail("gathered logits are kept whole: not with row_chunks");
  }
  if (profile.kernels.gathered_logits && profile.kernels.regather_input) {
    file.at("kernels").at("gathered_logits").fail("gathered logits are kept whole: not with regather_input");
  }
  fraction("gpu_speed_spread", profile.gpu_speed_spread);
  fraction("spread", profile.spread);
  if (profile.source.empty()) file.at("source").fail("must name at least one source");
}

// A profile may say only what it does differently from its base, which has none itself.
JsonView with_base(const JsonView& file) {
  const auto name = file.find("base");
  if (!name) return file;
  const JsonView base = load_json(scenario_path("frameworks", name->string()));
  if (base.find("base")) name->fail("\"" + name->string() + "\" has a base itself; name that one");
  return overlaid(base, file);
}

}  // namespace

const StateMechanisms& state_of(const Profile& profile, std::int32_t zero) {
  return zero == 0 && profile.replicated_state ? *profile.replicated_state : profile.state;
}

Profile load_profile(std::string_view name_or_path) {
  return profile_of(load_json(scenario_path("frameworks", name_or_path)));
}

Profile profile_of(const JsonView& file) {
  const JsonView whole = with_base(file);
  auto profile = read<Profile>(whole);
  check_names(whole, profile);
  if (!profile.base->empty()) {
    const Profile base = load_profile(*profile.base);
    profile.source.insert(profile.source.end(), base.source.begin(), base.source.end());
  }
  profile.name = std::filesystem::path(file.file()).stem().string();
  return profile;
}

}  // namespace tw
