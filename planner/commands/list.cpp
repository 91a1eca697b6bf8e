// trainwright list: what there is, read from the registries.
#include <CLI/CLI.hpp>

#include "planner/command.hpp"
#include "planner/lists.hpp"
#include "planner/options.hpp"
#include "planner/output.hpp"
#include "topology/json.hpp"

namespace tw {
namespace {

struct Options {
  std::string kind, json;
};

Json json_of(const ListKind& kind, const Listing& listing) {
  Json rows = Json::array();
  for (const auto& cells : listing.rows) {
    Json row = Json::object();
    for (std::size_t i = 0; i < cells.size(); ++i) row.set(listing.columns[i].title, cells[i]);
    rows.push(row);
  }
  return Json::object().set("schema", "trainwright.list/1").set("kind", kind.name).set("rows", rows);
}

Listing kinds_listing() {
  Listing out{{{"name", Align::left}, {"what it is", Align::left}}, {}};
  for (const ListKind& kind : list_kinds())
    out.rows.push_back({std::string(kind.name), std::string(kind.help)});
  return out;
}

int run(const Options& o) {
  check_output("--json", o.json);
  const ListKind all{"kinds", "", kinds_listing};
  const ListKind& kind = o.kind.empty() ? all : list_kind(o.kind);
  const Listing listing = kind.list();
  if (!o.json.empty()) write_output("--json", o.json, json_of(kind, listing).dump() + "\n");
  if (o.json == "-") return kAnswered;
  Table table(listing.columns);
  for (const auto& row : listing.rows) table.row(row);
  print(table.text(terminal_of(1).width));
  return kAnswered;
}

std::function<int()> setup(CLI::App& app) {
  auto o = std::make_shared<Options>();
  std::string help = "what to list; without it, what can be listed:";
  for (const ListKind& kind : list_kinds()) help += " " + std::string(kind.name);
  text_option(app, "kind", o->kind, help);
  text_option(app, "--json", o->json, "FILE: the list as JSON; - for standard output");
  return [o] { return run(*o); };
}

}  // namespace

namespace commands {
extern constinit const Command list;
constinit const Command list = {"list", 3,
                                "what is there? models, clusters, gpus, frameworks, schedules, ...", setup};
}  // namespace commands
}  // namespace tw
