#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <optional>

#include "costmodel/layout/layout.hpp"
#include "topology/check.hpp"

namespace tw {
namespace {

constexpr std::string_view kScheduleNames[] = {"gpipe", "1f1b",     "interleaved", "zb-h1",
                                               "zb-v",  "dualpipe", "dualpipe-v"};
constexpr std::string_view kCpKinds[] = {"ring", "zigzag", "a2a"};
constexpr std::string_view kDispatches[] = {"direct", "two-level", "rail", "dedup"};
constexpr std::string_view kOffloads[] = {"none", "optimizer"};
constexpr std::string_view kPrecisions[] = {"bf16",      "fp8-delayed", "fp8-current", "fp8-row",
                                            "fp8-block", "mxfp8",       "nvfp4"};
constexpr std::string_view kOrders[] = {"tp-cp-ep-dp-pp", "tp-cp-ep-pp-dp"};
// In the order of the bits of Recompute::Module.
constexpr std::string_view kModules[] = {"selective", "attention", "mlp", "norm", "moe_act", "mla_up"};
constexpr std::string_view kRecomputeLegal =
    "none, full, full:N (layers per stage, 1 to 1048576), or modules joined by + (selective, attention, mlp, "
    "norm, moe_act, mla_up)";

[[noreturn]] void fail(std::string_view option, const std::string& message) {
  throw InputError("command line", option, message);
}

std::string listed(std::span<const std::string_view> names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

std::optional<std::size_t> index_of(std::span<const std::string_view> names, std::string_view text) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) return i;
  }
  return std::nullopt;
}

// Digits only, no sign, no leading zero.
std::optional<std::int32_t> whole(std::string_view text, std::int32_t low, std::int32_t high) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value < low || value > high || text[0] == '-' || (text[0] == '0' && text.size() > 1))
    return std::nullopt;
  return value;
}

std::vector<std::string_view> pieces(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (std::size_t start = 0;;) {
    const std::size_t end = text.find(separator, start);
    out.push_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return out;
    start = end + 1;
  }
}

std::optional<Recompute> read_recompute(std::string_view text) {
  Recompute out;
  if (text == "none") return out;
  if (text.starts_with("full")) {
    out.full = true;
    if (text == "full") return out;
    if (text[4] != ':') return std::nullopt;
    const auto layers = whole(text.substr(5), 1, kLayoutLimit);
    if (!layers) return std::nullopt;
    out.full_layers = *layers;
    return out;
  }
  for (const std::string_view piece : pieces(text, '+')) {
    const auto bit = index_of(kModules, piece);
    if (!bit || (out.modules >> *bit & 1) != 0) return std::nullopt;
    out.modules = static_cast<std::uint8_t>(out.modules | 1u << *bit);
  }
  return out;
}

std::optional<std::vector<std::int32_t>> read_split(std::string_view text) {
  std::vector<std::int32_t> out;
  for (const std::string_view piece : pieces(text, '-')) {
    const auto layers = whole(piece, 0, kLayoutLimit);
    if (!layers) return std::nullopt;
    out.push_back(*layers);
  }
  return out;
}

// One key: how it is read, printed, and what is legal.
struct KeyRow {
  std::string_view name;
  std::string legal;
  bool (*read)(std::string_view text, Layout& layout);
  std::string (*print)(const Layout& layout);  // empty: default of an optional key
};

template <auto Member, std::int32_t Low, std::int32_t High>
KeyRow number(std::string_view name) {
  return {name, fmt::format("a whole number from {} to {}", Low, High),
          [](std::string_view text, Layout& layout) {
            const auto value = whole(text, Low, High);
            if (value) layout.*Member = static_cast<std::remove_cvref_t<decltype(layout.*Member)>>(*value);
            return value.has_value();
          },
          [](const Layout& layout) { return fmt::format("{}", static_cast<std::int32_t>(layout.*Member)); }};
}

template <auto Member, auto& Names, bool Optional>
KeyRow choice(std::string_view name) {
  return {name, listed(Names),
          [](std::string_view text, Layout& layout) {
            const auto index = index_of(Names, text);
            if (index) layout.*Member = static_cast<std::remove_cvref_t<decltype(layout.*Member)>>(*index);
            return index.has_value();
          },
          [](const Layout& layout) {
            const bool hidden = Optional && layout.*Member == Layout{}.*Member;
            return hidden ? std::string() : std::string(Names[static_cast<std::size_t>(layout.*Member)]);
          }};
}

KeyRow recompute_row() {
  return {"recompute", std::string(kRecomputeLegal),
          [](std::string_view text, Layout& layout) {
            const auto value = read_recompute(text);
            if (value) layout.recompute = *value;
            return value.has_value();
          },
          [](const Layout& layout) { return to_string(layout.recompute); }};
}

KeyRow split_row() {
  return {"split", "layers of each chunk in model order, joined by -, such as 7-8-8-7",
          [](std::string_view text, Layout& layout) {
            auto value = read_split(text);
            if (value) layout.split = std::move(*value);
            return value.has_value();
          },
          [](const Layout& layout) { return fmt::format("{}", fmt::join(layout.split, "-")); }};
}

template <auto Member>
KeyRow size_of_dimension(std::string_view name) {
  return number<Member, 1, kLayoutLimit>(name);
}

// In the order of LayoutKey.
const std::vector<KeyRow>& key_rows() {
  static const std::vector<KeyRow> rows = {
      size_of_dimension<&Layout::dp>("dp"),
      size_of_dimension<&Layout::tp>("tp"),
      size_of_dimension<&Layout::pp>("pp"),
      size_of_dimension<&Layout::cp>("cp"),
      size_of_dimension<&Layout::ep>("ep"),
      size_of_dimension<&Layout::etp>("etp"),
      size_of_dimension<&Layout::vpp>("vpp"),
      number<&Layout::sp, 0, 1>("sp"),
      number<&Layout::zero, 0, 3>("zero"),
      number<&Layout::hsdp, 0, kLayoutLimit>("hsdp"),
      size_of_dimension<&Layout::mb>("mb"),
      recompute_row(),
      choice<&Layout::schedule, kScheduleNames, false>("schedule"),
      choice<&Layout::cp_kind, kCpKinds, true>("cp_kind"),
      choice<&Layout::dispatch, kDispatches, true>("a2a"),
      choice<&Layout::order, kOrders, true>("order"),
      split_row(),
      choice<&Layout::offload, kOffloads, true>("offload"),
      choice<&Layout::precision, kPrecisions, true>("precision"),
  };
  return rows;
}

std::size_t find_key(std::string_view name, std::string_view option) {
  const std::vector<KeyRow>& rows = key_rows();
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].name == name) return i;
    names.push_back(rows[i].name);
  }
  fail(option, fmt::format("unknown key \"{}\"; legal keys: {}", printable(name), listed(names)));
}

void read_pair(std::string_view pair, std::string_view option, LayoutKeys& out) {
  const std::size_t equals = pair.find('=');
  if (equals == std::string_view::npos) {
    fail(option, fmt::format("\"{}\" has no =; write key=value pairs joined by commas, such as tp=8,pp=2",
                             printable(pair)));
  }
  const std::size_t key = find_key(pair.substr(0, equals), option);
  const KeyRow& row = key_rows()[key];
  if (out.has(static_cast<LayoutKey>(key))) fail(option, fmt::format("key \"{}\" is given twice", row.name));
  if (!row.read(pair.substr(equals + 1), out.value)) {
    fail(option, fmt::format("{}=\"{}\" is not legal; legal: {}", row.name,
                             printable(pair.substr(equals + 1)), row.legal));
  }
  out.given |= 1u << key;
}

// tp*pp*cp, or nothing above the limit; each factor is at most 2^20.
std::optional<std::int32_t> ranks_of_one_replica(const Layout& layout) {
  std::int64_t ranks = std::int64_t{layout.tp} * layout.pp;
  if (ranks <= kLayoutLimit) ranks *= layout.cp;
  if (ranks > kLayoutLimit) return std::nullopt;
  return static_cast<std::int32_t>(ranks);
}

}  // namespace

std::span<const std::string_view> schedule_names() {
  return kScheduleNames;
}

std::string to_string(const Recompute& recompute) {
  if (recompute.full) {
    return recompute.full_layers == 0 ? "full" : fmt::format("full:{}", recompute.full_layers);
  }
  std::string text;
  for (std::size_t i = 0; i < std::size(kModules); ++i) {
    if ((recompute.modules >> i & 1) == 0) continue;
    if (!text.empty()) text += '+';
    text += kModules[i];
  }
  return text.empty() ? "none" : text;
}

std::string to_string(const Layout& layout) {
  std::string text;
  for (const KeyRow& row : key_rows()) {
    const std::string value = row.print(layout);
    if (!value.empty()) text += fmt::format("{}{}={}", text.empty() ? "" : ",", row.name, value);
  }
  return text;
}

LayoutKeys parse_layout_keys(std::string_view text, std::string_view option) {
  LayoutKeys out;
  for (const std::string_view pair : pieces(text, ',')) read_pair(pair, option, out);
  return out;
}

Layout parse_layout(std::string_view text, std::int32_t gpus) {
  constexpr std::string_view kOption = "--layout";
  LayoutKeys keys = parse_layout_keys(text, kOption);
  Layout& layout = keys.value;
  const bool has_dp = keys.has(LayoutKey::dp);
  if (!has_dp && gpus == 0) fail(kOption, "dp is missing; give it, or the number of GPUs");
  const auto replica = ranks_of_one_replica(layout);
  if (!replica || (has_dp && std::int64_t{*replica} * layout.dp > kLayoutLimit)) {
    fail(kOption, fmt::format("dp*tp*pp*cp is above the limit of {} GPUs", kLayoutLimit));
  }
  if (!has_dp && gpus % *replica != 0) {
    fail(kOption, fmt::format("tp*pp*cp = {} does not divide {} GPUs; choose sizes that do", *replica, gpus));
  }
  if (!has_dp) layout.dp = gpus / *replica;
  if (gpus != 0 && layout.gpus() != gpus) {
    fail(kOption, fmt::format("dp*tp*pp*cp = {} but there are {} GPUs; leave dp out to have it filled in",
                              layout.gpus(), gpus));
  }
  return std::move(layout);
}

Recompute parse_recompute(std::string_view text) {
  const auto value = read_recompute(text);
  if (!value)
    fail("recompute", fmt::format("\"{}\" is not legal; legal: {}", printable(text), kRecomputeLegal));
  return *value;
}

Precision parse_precision(std::string_view text) {
  const auto index = index_of(kPrecisions, text);
  if (!index) {
    fail("--precision", fmt::format("\"{}\" is not known; legal: {}", printable(text), listed(kPrecisions)));
  }
  return static_cast<Precision>(*index);
}

std::string_view name_of(Precision precision) {
  return kPrecisions[static_cast<std::size_t>(precision)];
}

}  // namespace tw
