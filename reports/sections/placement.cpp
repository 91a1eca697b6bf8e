// The cluster drawn: which group each GPU of each node belongs to, and how far every kind of group reaches.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "costmodel/layout/rank_grid.hpp"
#include "reports/section.hpp"
#include "reports/text.hpp"

namespace tw {
namespace {

constexpr std::int32_t kMostDrawn = 512;  // GPUs

struct NamedDim {
  Dim dim;
  Scope scope;
  std::string_view name, title;
};
constexpr NamedDim kDims[] = {{Dim::pp, Scope::attention, "pp", "pipeline stage"},
                              {Dim::tp, Scope::attention, "tp", "tensor parallel"},
                              {Dim::cp, Scope::attention, "cp", "context parallel"},
                              {Dim::dp, Scope::attention, "dp", "data parallel"},
                              {Dim::ep, Scope::expert, "ep", "experts"},
                              {Dim::etp, Scope::expert, "etp", "tensor parallel of experts"},
                              {Dim::edp, Scope::expert, "edp", "data parallel of experts"}};

std::vector<NamedDim> used_dims(const RankGrid& grid) {
  std::vector<NamedDim> out;
  for (const NamedDim& each : kDims) {
    if (grid.size(each.dim) > 1) out.push_back(each);
  }
  return out;
}

struct Reach {
  std::size_t nodes = 0;     // of the group that reaches most
  std::size_t per_node = 0;  // ranks of a group in one node, of the group that has most
};

Reach reach_of(const RankGrid& grid, const NamedDim& each, std::int32_t per_node) {
  Reach out;
  for (const std::vector<Rank>& group : grid.groups({each.scope, bit(each.dim)})) {
    std::multiset<std::int32_t> nodes;
    for (const Rank rank : group) nodes.insert(node_of(rank, per_node).value());
    const std::set<std::int32_t> distinct(nodes.begin(), nodes.end());
    out.nodes = std::max(out.nodes, distinct.size());
    for (const std::int32_t node : distinct) out.per_node = std::max(out.per_node, nodes.count(node));
  }
  return out;
}

DataTable groups_of(const RankGrid& grid, const std::vector<NamedDim>& dims, std::int32_t per_node) {
  DataTable out({{"dim", "group"},
                 {"what", "what it cuts or repeats"},
                 {"ranks", "ranks", Show::count},
                 {"groups", "such groups", Show::count},
                 {"nodes", "nodes that one reaches", Show::count},
                 {"per_node", "of its ranks in a node", Show::count},
                 {"links", "its links"}});
  for (const NamedDim& each : dims) {
    const Reach reach = reach_of(grid, each, per_node);
    const std::int32_t size = grid.group_size({each.scope, bit(each.dim)});
    out.row({std::string(each.name), std::string(each.title), static_cast<double>(size),
             static_cast<double>(grid.ranks() / size), static_cast<double>(reach.nodes),
             static_cast<double>(reach.per_node),
             reach.nodes == 1      ? "inside the node"
             : reach.per_node == 1 ? "network, each rank on its own rail"
                                   : "network, and the node's own"});
  }
  return out;
}

DataTable cells_of(const RankGrid& grid, const std::vector<NamedDim>& dims, std::int32_t per_node) {
  std::vector<DataColumn> columns = {{"node", "node", Show::count}, {"gpu", "GPU", Show::count}};
  for (const NamedDim& each : dims)
    columns.push_back({std::string(each.name), std::string(each.name), Show::count});
  DataTable out(columns);
  const std::int32_t whole_nodes = std::max(1, kMostDrawn / per_node) * per_node;
  for (const Rank rank : grid.first(whole_nodes)) {
    const Node node = node_of(rank, per_node);
    std::vector<Cell> cells = {static_cast<double>(node.value()),
                               static_cast<double>(place_in_node(rank, per_node).value())};
    for (const NamedDim& each : dims) cells.push_back(static_cast<double>(grid.coordinate(rank, each.dim)));
    out.row(std::move(cells));
  }
  return out;
}

Json marks(const std::vector<NamedDim>& dims, const Winner& winner) {
  Json names = Json::array();
  for (const NamedDim& each : dims) names.push(each.name);
  Json choice = Json::object().set("name", "by").set("value", dims.front().name);
  choice.set("bind",
             Json::object().set("input", "select").set("options", names).set("name", "colour by place in"));
  Json out = Json::parsed(R"vega({"transform": [{"calculate": "datum[by]", "as": "place"}]})vega");
  const bool rails = winner.nics_per_node == winner.gpus_per_node;
  Json x = Json::parsed(R"vega({"field": "gpu", "type": "ordinal", "axis": {"labelAngle": 0}})vega");
  x.set("title", rails ? "GPU of the node, and its rail" : "GPU of the node");
  Json y = Json::parsed(R"vega({"field": "node", "type": "ordinal", "title": "node"})vega");
  out.set("encoding", Json::object().set("y", y).set("x", x)).set("params", Json::array().push(choice));
  Json layers = Json::array().push(Json::parsed(R"vega({
    "mark": {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 1},
    "encoding": {"color": {"field": "place", "type": "ordinal", "scale": {"scheme": "rainbow"}, "legend": null}}})vega"));
  constexpr std::int32_t kMostWithText = 16;  // columns
  if (winner.gpus_per_node <= kMostWithText)
    layers.push(Json::parsed(R"vega({"mark": {"type": "text", "fontSize": 9, "color": "#10151c"},
      "encoding": {"text": {"field": "place", "type": "ordinal"}}})vega"));
  return out.set("layer", layers);
}

std::vector<Piece> build(const JsonView& result) {
  const auto winner = winner_of(result);
  if (!winner || winner->gpus == 1) return {};
  const RankGrid grid(layout_of(*winner));
  const std::int32_t per_node = winner->gpus_per_node;
  const std::vector<NamedDim> dims = used_dims(grid);
  if (dims.empty()) return {};
  const std::int32_t nodes = winner->gpus / per_node,
                     drawn = std::min(nodes, std::max(1, kMostDrawn / per_node));
  return {Listed{"Every kind of group, and the links it needs", groups_of(grid, dims, per_node)},
          Chart{drawn < nodes
                    ? fmt::format("The first {} of {} nodes; the number is the GPU's place in the group "
                                  "that you choose",
                                  drawn, count_text(nodes))
                    : "Every GPU; the number is its place in the group that you choose",
                fmt::format("{} nodes of {} GPUs, coloured by the place in a group", drawn, per_node),
                cells_of(grid, dims, per_node), marks(dims, *winner), 16, "node"}};
}

}  // namespace

namespace sections {
extern constinit const Section placement;
constinit const Section placement = {"placement", 5, "Placement", build};
}  // namespace sections
}  // namespace tw
