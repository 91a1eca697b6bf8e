#include "planner/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "topology/check.hpp"

namespace tw {
namespace {

using Clock = std::chrono::steady_clock;

volatile sig_atomic_t g_stop = 0;
void note_stop(int signal) {
  g_stop = signal;
}

// While one of these lives, a request to stop is noted and not obeyed at once.
class NotedSignals {
 public:
  NotedSignals() {
    struct sigaction action {};
    action.sa_handler = note_stop;
    for (std::size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~NotedSignals() {
    for (std::size_t i = 0; i < 3; ++i) sigaction(kSignals[i], &before_[i], nullptr);
    const int asked = g_stop;
    g_stop = 0;
    if (asked != 0) raise(asked);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3]{};
};

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
    read = ends[0], write = ends[1];
  }
  ~Pipe() { close_read(), close_write(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_read() {
    if (read >= 0) close(std::exchange(read, -1));
  }
  void close_write() {
    if (write >= 0) close(std::exchange(write, -1));
  }
};

// Parents of all processes, from /proc: what a launcher started may have left its process group.
std::vector<pid_t> descendants_of(pid_t root) {
  std::vector<std::pair<pid_t, pid_t>> parents;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream in(entry.path() / "stat");
    std::string text;
    std::getline(in, text, '\0');  // of a process that ends meanwhile: nothing (a bare iterator would throw)
    const std::size_t after = text.rfind(')');  // the name before it may hold anything
    if (after == std::string::npos) continue;
    std::istringstream rest(text.substr(after + 1));
    char state = 0;
    pid_t parent = 0;
    rest >> state >> parent;
    parents.emplace_back(std::stoi(name), parent);
  }
  std::vector<pid_t> found{root};
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const auto& [pid, parent] : parents) {
      if (parent == found[i]) found.push_back(pid);
    }
  }
  found.erase(found.begin());
  return found;
}

// Processes whose launcher is gone become ours (PR_SET_CHILD_SUBREAPER), so that none is lost sight of.
class Offspring {
 public:
  Offspring() { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~Offspring() { prctl(PR_SET_CHILD_SUBREAPER, 0); }

  void send(int signal) const {
    for (const pid_t pid : descendants_of(getpid())) kill(pid, signal);
  }
  // Asks, waits, then ends what is left.
  void end() const {
    send(SIGTERM);
    for (int i = 0; i < 20 && alive(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    for (int i = 0; i < 60 && alive(); ++i) {
      send(SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

 private:
  static bool alive() {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return !descendants_of(getpid()).empty();
  }
};

[[noreturn]] void become(const std::vector<std::string>& argv, const Pipe& out, const Pipe& err, int failed) {
  setpgid(0, 0);
  dup2(out.write, STDOUT_FILENO), dup2(err.write, STDERR_FILENO);
  const int none = open("/dev/null", O_RDONLY);
  dup2(none, STDIN_FILENO);
  std::vector<char*> list;
  for (const std::string& each : argv) list.push_back(const_cast<char*>(each.c_str()));
  list.push_back(nullptr);
  execvp(list[0], list.data());
  const int why = errno;
  if (write(failed, &why, sizeof why) < 0) _exit(126);
  _exit(127);
}

pid_t start(const std::vector<std::string>& argv, Pipe& out, Pipe& err) {
  Pipe failed;
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (pid == 0) become(argv, out, err, failed.write);
  out.close_write(), err.close_write(), failed.close_write();
  int why = 0;
  if (read(failed.read, &why, sizeof why) > 0) {
    waitpid(pid, nullptr, 0);
    throw InputError(argv[0], "", std::string("cannot be started: ") + std::strerror(why));
  }
  return pid;
}

class Lines {
 public:
  explicit Lines(std::function<void(const std::string&)> use) : use_(std::move(use)) {}
  void add(const char* data, std::size_t count) {
    rest_.append(data, count);
    for (std::size_t end = 0; (end = rest_.find('\n')) != std::string::npos;) {
      use_(rest_.substr(0, end));
      rest_.erase(0, end + 1);
    }
  }

 private:
  std::string rest_;
  std::function<void(const std::string&)> use_;
};

class Watch {
 public:
  Watch(Pipe& out, Pipe& err, const ChildLimits& limits,
        const std::function<void(const std::string&)>& on_line)
      : out_(out), err_(err), limits_(limits), lines_(on_line) {}

  // Until both ends are closed, or a limit is met: then why.
  std::string until_end(std::string& last) {
    while (out_.read >= 0 || err_.read >= 0) {
      pollfd polled[] = {{out_.read, POLLIN, 0}, {err_.read, POLLIN, 0}};
      poll(polled, 2, 100);
      if (g_stop != 0) return "asked to stop";
      if (polled[0].revents != 0) take(out_, [&](const char* data, std::size_t n) { lines_.add(data, n); });
      if (polled[1].revents != 0) {
        take(err_, [&](const char* data, std::size_t n) {
          last.append(data, n);
          if (last.size() > 4096) last.erase(0, last.size() - 4096);
        });
      }
      if (Clock::now() - began_ > limits_.whole) return "took longer than its limit";
      if (Clock::now() - heard_ > limits_.silence) return "said nothing for too long";
    }
    return {};
  }

 private:
  template <class F>
  void take(Pipe& from, F use) {
    char data[4096];
    const ssize_t n = ::read(from.read, data, sizeof data);
    if (n < 0 && errno == EINTR) return;
    if (n <= 0) return from.close_read();
    heard_ = Clock::now();
    use(data, static_cast<std::size_t>(n));
  }
  Pipe &out_, &err_;
  ChildLimits limits_;
  Lines lines_;
  Clock::time_point began_ = Clock::now(), heard_ = began_;
};

bool on_path(const std::string& name) {
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');) {
    if (access((folder + "/" + name).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

ChildResult run_child(const std::vector<std::string>& argv, const ChildLimits& limits,
                      const std::function<void(const std::string&)>& on_line) {
  const NotedSignals signals;
  const Offspring offspring;
  Pipe out, err;
  const pid_t pid = start(argv, out, err);
  ChildResult result;
  try {
    result.ended = Watch(out, err, limits, on_line).until_end(result.last_lines);
  } catch (...) {
    offspring.end();
    throw;
  }
  int status = 0;
  if (result.ended.empty()) {
    waitpid(pid, &status, 0);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  } else {
    result.code = 128 + SIGTERM;
  }
  offspring.end();
  return result;
}

std::string said_by(const std::string& program, const ChildResult& result) {
  const std::string name = program + ": ";
  const std::size_t at = result.last_lines.find(name);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + name.size();
  return printable(result.last_lines.substr(begin, result.last_lines.find('\n', begin) - begin), 500);
}

std::vector<std::string> launcher(int ranks) {
  const std::string n = std::to_string(ranks);
  if (!on_path("mpirun") && std::getenv("SLURM_JOB_ID") != nullptr) return {"srun", "-n", n};
  std::vector<std::string> out{"mpirun", "-n", n};
  if (ranks > static_cast<int>(std::thread::hardware_concurrency())) out.push_back("--oversubscribe");
  if (geteuid() == 0) out.push_back("--allow-run-as-root");
  return out;
}

std::vector<std::string> launcher(int ranks, const std::string& text) {
  std::istringstream words(text);
  std::vector<std::string> out;
  for (std::string word; words >> word;) {
    constexpr std::string_view kRanks = "{ranks}";
    const std::size_t at = word.find(kRanks);
    if (at != std::string::npos) word.replace(at, kRanks.size(), std::to_string(ranks));
    out.push_back(word);
  }
  return out.empty() ? launcher(ranks) : out;
}

bool launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

std::string sibling(const std::string& name) {
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
  if (access(here.c_str(), X_OK) != 0)
    throw InputError(here.string(), "", "is not there; build it with: make build");
  return here.string();
}

}  // namespace tw
