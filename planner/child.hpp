// Starts a program with everything that comes of it, reads its lines, and leaves none of its processes
// behind: not when it fails, not when it hangs, not when this program is asked to stop.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace tw {

struct ChildLimits {
  std::chrono::duration<double> whole{3600};   // from its start
  std::chrono::duration<double> silence{120};  // since its last line
};

struct ChildResult {
  int code = 0;            // of its exit; 128 + signal where one ended it
  std::string ended;       // why we ended it; empty: it ended by itself
  std::string last_lines;  // of standard error, at most 4 KiB
  bool good() const { return code == 0 && ended.empty(); }
};

// The line of `program` ("NAME: ...", without the name) among what came by standard error; empty: none.
std::string said_by(const std::string& program, const ChildResult& result);

// argv[0] is looked up on PATH. on_line: each line of its standard output, as it comes. InputError where it
// cannot be started. Returns when every process of it is gone.
ChildResult run_child(const std::vector<std::string>& argv, const ChildLimits& limits,
                      const std::function<void(const std::string&)>& on_line);

// mpirun with what this machine needs: as root, and with more ranks than cores. Under srun's allocation
// without mpirun: srun.
std::vector<std::string> launcher(int ranks);
// Words of the user's own instead, where `text` holds any; {ranks} stands for their number.
std::vector<std::string> launcher(int ranks, const std::string& text);
// Whether one of them started this process.
bool launched();
// A program of ours that stands beside this one.
std::string sibling(const std::string& name);

}  // namespace tw
