#include "topology/registry.hpp"

#include <filesystem>

#include "topology/check.hpp"

namespace tw {
namespace fs = std::filesystem;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

namespace {

std::string find_scenarios() {
  std::error_code error;
  fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (; !folder.empty(); folder = folder.parent_path()) {
    for (const fs::path& place : {folder / "scenarios", folder / "share/trainwright/scenarios"}) {
      if (fs::is_directory(place / "gpus", error)) return place.string();
    }
    if (folder == folder.root_path()) break;
  }
  throw InputError("scenarios", "", "folder not found above the executable; reinstall Trainwright");
}

bool is_path(std::string_view text) {
  return text.find('/') != std::string_view::npos || text.ends_with(".json");
}

}  // namespace

const std::string& scenarios_folder() {
  static const std::string folder = find_scenarios();
  return folder;
}

std::vector<std::string> scenario_names(std::string_view kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(scenarios_folder()) / kind, error)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string scenario_path(std::string_view kind, std::string_view name_or_path) {
  if (is_path(name_or_path)) return std::string(name_or_path);
  const fs::path path = fs::path(scenarios_folder()) / kind / (std::string(name_or_path) + ".json");
  std::error_code error;
  if (name_or_path.empty() || !fs::exists(path, error)) {
    throw InputError(printable(name_or_path), "",
                     "no such name in scenarios/" + std::string(kind) +
                         " and not a file; known: " + joined(scenario_names(kind)));
  }
  return path.string();
}

}  // namespace tw
