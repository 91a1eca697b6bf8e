// Runs the real program in a folder of its own and keeps what it said, for tests of commands.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "topology/json.hpp"

namespace tw {

struct Ran {
  int code = -1;
  std::string out, err;
};

inline std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A folder that goes with the object.
class Workspace {
 public:
  Workspace() {
    std::string pattern = (std::filesystem::temp_directory_path() / "trainwright-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    std::filesystem::create_directory(folder_ / "said");
    std::filesystem::create_directory(folder_ / "in");
  }
  ~Workspace() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Where the program runs; files() lists what is in it.
  std::filesystem::path in() const { return folder_ / "in"; }
  std::string path(const std::string& name) const { return (in() / name).string(); }
  std::set<std::string> files() const {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(in()))
      out.insert(entry.path().filename().string());
    return out;
  }

  Ran run(const std::vector<std::string>& args) const {
    std::string line = quoted(TW_BINARY_DIR "/bin/trainwright");
    for (const std::string& arg : args) line += " " + quoted(arg);
    return run_line(line);
  }
  // A line of the shell.
  Ran run_line(const std::string& line) const {
    const std::string out = (folder_ / "said/out").string(), err = (folder_ / "said/err").string();
    const std::string command = "cd " + quoted(in().string()) + " && " + line;
    const int status =
        std::system((command + " >" + quoted(out) + " 2>" + quoted(err) + " </dev/null").c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace tw
