#include <algorithm>
#include <filesystem>

#include "costmodel/curves.hpp"
#include "topology/check.hpp"
#include "topology/registry.hpp"

namespace tw {
namespace {

struct Limits {
  double low, high;
  const char* text;
};
constexpr Limits kShare{0, 1, "must be above 0 and at most 1"};
constexpr Limits kPositive{0, 1e300, "must be above 0"};

void check(const JsonView& node, std::string_view key, double value, const Limits& limits) {
  if (!(value > limits.low && value <= limits.high)) node.at(key).fail(limits.text);
}

void check_evidence(const JsonView& node, const Evidence& evidence) {
  check(node, "spread", evidence.spread, kShare);
  if (evidence.per_octave < 0) node.at("per_octave").fail("must be at least 0");
  if (evidence.source.empty()) node.at("source").fail("empty; say where the numbers come from");
}

void check_gemm(const JsonView& node, const GemmCurve& curve) {
  check(node, "rate", curve.rate.value, kPositive);
  check(node, "odd_rate", curve.odd_rate.value, kPositive);
  check(node, "memory_share", curve.memory_share, kShare);
  if (curve.fill < 0) node.at("fill").fail("must be at least 0");
  check(node, "intensity", curve.intensity, kPositive);
  if (curve.tail < 0 || curve.tail > 1) node.at("tail").fail("must be from 0 to 1");
  if (curve.overlap < 1) node.at("overlap").fail("must be at least 1 (1: compute and memory add)");
  if (*curve.exposed < 0 || *curve.exposed > 1) node.at("exposed").fail("must be from 0 to 1");
  check_evidence(node.at("evidence"), curve.evidence);
}

void check_attention(const JsonView& node, const AttentionCurve& curve) {
  check(node, "rate", curve.rate.value, kPositive);
  if (curve.padding < 0) node.at("padding").fail("must be at least 0");
  if (*curve.tail_rows < 0) node.at("tail_rows").fail("must be at least 0");
  if (*curve.exponentials <= 0) node.at("exponentials").fail("must be above 0");
  check_evidence(node.at("evidence"), curve.evidence);
}

void check_scaled(const JsonView& node, const ScaledKernel& kernel) {
  if (kernel.of != "flash2" && kernel.of != "cudnn") node.at("of").fail("must be \"flash2\" or \"cudnn\"");
  check(node, "speed", kernel.speed, kPositive);
}

void check_attentions(const JsonView& node, const AttentionCurves& curves) {
  check(node, "head_dim", curves.head_dim, kPositive);
  check(node, "exponential", curves.exponential.value, kPositive);
  for (const auto& [key, kernel] : {std::pair{"flash2", &curves.flash2}, std::pair{"cudnn", &curves.cudnn}}) {
    check_attention(node.at(key).at("forward"), kernel->forward);
    check_attention(node.at(key).at("backward"), kernel->backward);
  }
  check_scaled(node.at("flash1"), curves.flash1);
  check_scaled(node.at("flash3"), curves.flash3);
  check_scaled(node.at("scan"), curves.scan);
}

void check_link(const JsonView& node, const LinkCurve& curve) {
  check(node, "efficiency", curve.efficiency, kShare);
  if (!(curve.power > 0 && curve.power < 1)) {
    node.at("power").fail("must be above 0 and below 1, so that more bytes are never faster");
  }
  if (curve.min_bytes > curve.max_bytes) node.at("min_bytes").fail("above max_bytes");
  check_evidence(node.at("evidence"), curve.evidence);
}

void check_table(const JsonView& node, const ExchangeTable& table) {
  const auto rises = [](const auto& values, bool strictly) {
    return std::adjacent_find(values.begin(), values.end(), [&](const auto& a, const auto& b) {
             return strictly ? !(a < b) : b < a;
           }) == values.end();
  };
  if (table.sizes.size() < 2 || !rises(table.sizes, true) || table.sizes.front().count < 1)
    node.at("sizes").fail("must be two or more, above 0 and rising");
  if (table.times.size() != table.sizes.size()) node.at("times").fail("must be as many as sizes");
  if (!rises(table.times, false) || !(table.times.front().value > 0))
    node.at("times").fail("must be above 0, and none below the one before");
  if (table.ranks < 2) node.at("ranks").fail("must be at least 2");
  if (*table.nodes != 1 && *table.nodes != table.ranks)
    node.at("nodes").fail("must be 1, or as many as ranks");
  check(node, "link", table.link.value, kPositive);
  check_evidence(node.at("evidence"), table.evidence);
}

void check_links(const JsonView& node, const LinkCurves& curves) {
  const std::pair<const char*, const LinkCurve*> all[] = {
      {"ring_intra", &curves.ring_intra},         {"nvls_intra", &curves.nvls_intra},
      {"pairwise_intra", &curves.pairwise_intra}, {"send_intra", &curves.send_intra},
      {"ring_inter", &curves.ring_inter},         {"tree_inter", &curves.tree_inter},
      {"pairwise_inter", &curves.pairwise_inter}, {"send_inter", &curves.send_inter}};
  for (const auto& [key, curve] : all) check_link(node.at(key), *curve);
  for (std::size_t i = 0; i < curves.tables->size(); ++i)
    check_table(node.at("tables")[i], (*curves.tables)[i]);
  check(node, "logged_nodes", curves.logged_nodes, kPositive);
}

void check_mixes(const JsonView& node, const std::vector<LoadAtShare>& mixes) {
  double before = -1;
  for (std::size_t i = 0; i < mixes.size(); ++i) {
    const JsonView mix = node[i];
    if (mixes[i].gemm_share <= before || mixes[i].gemm_share > 1)
      mix.at("gemm_share").fail("must rise, from 0 to 1");
    before = mixes[i].gemm_share;
    check(mix, "gemm", mixes[i].gemm, kPositive);
    check(mix, "attention", mixes[i].attention, kPositive);
    check(mix, "elementwise", mixes[i].elementwise, kPositive);
  }
}

void check_host(const JsonView& node, const HostCosts& host) {
  check(node, "copy_share", host.copy_share, kShare);
  if (host.compute_slowdown < 1) node.at("compute_slowdown").fail("must be at least 1");
  if (host.network_slowdown < 1) node.at("network_slowdown").fail("must be at least 1");
  if (*host.gemm_yields < 0 || *host.gemm_yields > 1) node.at("gemm_yields").fail("must be from 0 to 1");
  Bytes before(0);
  for (std::size_t i = 0; i < host.beside->size(); ++i) {
    const Interference& each = (*host.beside)[i];
    const JsonView at = node.at("beside")[i];
    if (each.bytes <= before) at.at("bytes").fail("must be above 0 and rise");
    if (each.network < 1) at.at("network").fail("must be at least 1");
    if (each.lost < 0 || each.lost > 1) at.at("lost").fail("must be from 0 to 1");
    before = each.bytes;
  }
}

void check_device(const JsonView& node, const CalibratedDevice& device) {
  check(node, "sms", device.sms, kPositive);
  check(node, "bf16", device.bf16.value, kPositive);
  check(node, "memory_rate", device.memory_rate.value, kPositive);
}

}  // namespace

CalibrationFile read_calibration(const JsonView& root) {
  CalibrationFile file = read<CalibrationFile>(root);
  check_device(root.at("device"), file.device);
  check_gemm(root.at("gemm"), file.gemm);
  check_gemm(root.at("grouped_gemm"), file.grouped_gemm);
  check_attentions(root.at("attention"), file.attention);
  check(root.at("elementwise"), "rate", file.elementwise.rate.value, kPositive);
  check_evidence(root.at("elementwise").at("evidence"), file.elementwise.evidence);
  if (!file.sustained->mixes->empty()) check_mixes(root.at("sustained").at("mixes"), *file.sustained->mixes);
  check_links(root.at("links"), file.links);
  check_host(root.at("host"), file.host);
  return file;
}

Calibration load_calibration(std::string_view name_or_path, const Cluster& cluster) {
  return calibration_of(load_json(scenario_path("calibrations", name_or_path)), cluster);
}

Calibration calibration_of(const JsonView& file, const Cluster& cluster) {
  auto data = std::make_shared<Calibration::Data>();
  static_cast<CalibrationFile&>(*data) = read_calibration(file);
  data->name = std::filesystem::path(file.file()).stem().string();
  carry_over(*data, cluster.device, file);
  Calibration calibration;
  calibration.data_ = std::move(data);
  return calibration;
}

}  // namespace tw
