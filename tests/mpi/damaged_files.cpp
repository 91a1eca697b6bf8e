// Damaged checkpoints: each is refused on every rank in the same words, and the states stay as they were.
#include <cstdio>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>

#include "tests/mpi/forwarding.hpp"
#include "tests/mpi/saved_runs.hpp"
#include "topology/check.hpp"
#include "topology/json.hpp"

namespace tw::train {
namespace {

namespace fs = std::filesystem;

const Case kCase = {"dense", "dp=2,tp=2,zero=1", 4};

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  TW_CHECK(at != std::string::npos && from.size() == to.size());
  return text.replace(at, from.size(), to);
}
std::size_t values_of(const std::string& file) {
  const std::size_t line = file.find('\n') + 1;
  return line + std::stoul(file.substr(file.rfind(' ', line) + 1));
}
std::string with_number(std::string file, std::size_t at, double value) {
  std::memcpy(file.data() + at, &value, sizeof value);
  return file;
}

struct Damage {
  const char* name;
  const char* words;  // of the refusal
  std::function<std::string(const std::string& good)> made;
};

const double kNan = std::numeric_limits<double>::quiet_NaN();

const Damage kDamages[] = {
    {"empty", "is no checkpoint; legal", [](const std::string&) { return std::string(); }},
    {"a text", "is no checkpoint; legal", [](const std::string&) { return std::string("hello\nworld\n"); }},
    {"a text without an end", "is no checkpoint; legal",
     [](const std::string&) { return std::string(90, 'x'); }},
    {"cut in its first line", "is no checkpoint; legal",
     [](const std::string& f) { return f.substr(0, 24); }},
    {"cut in its header", "header: should have", [](const std::string& f) { return f.substr(0, 300); }},
    {"cut in its values", "it was cut off", [](const std::string& f) { return f.substr(0, f.size() / 2); }},
    {"one byte short", "it was cut off", [](const std::string& f) { return f.substr(0, f.size() - 1); }},
    {"longer", "it was added to", [](const std::string& f) { return f + "x"; }},
    {"another version", "version: is 2; legal: 1",
     [](const std::string& f) { return changed(f, "checkpoint 1 ", "checkpoint 2 "); }},
    {"a header that is no JSON",
     "saved: ", [](const std::string& f) { return changed(f, "\"model\"", "\"model;"); }},
    {"a missing key", "missing key \"seq\"",
     [](const std::string& f) { return changed(f, "\"seq\"", "\"sEq\""); }},
    {"steps below zero", "steps_done: is negative; legal: 0 or more",
     [](const std::string& f) { return changed(f, "\"steps_done\": 1", "\"steps_done\":-1"); }},
    {"a weight of another name", "this model has",
     [](const std::string& f) { return changed(f, "layer 3", "layer 7"); }},
    {"a weight of another size", "this model has embedding",
     [](const std::string& f) { return changed(f, "\"elements\": 960", "\"elements\": 961"); }},
    {"another step size", "settings.learning_rate: is 0.02 in the file and 0.01 in this run",
     [](const std::string& f) { return changed(f, "\"learning_rate\": 0.01", "\"learning_rate\": 0.02"); }},
    {"a flipped bit", "its hash differs",
     [](std::string f) { return f[values_of(f) + 800] = static_cast<char>(f[values_of(f) + 800] ^ 1), f; }},
    {"a number that is none", "legal: finite numbers",
     [](const std::string& f) { return with_number(f, values_of(f) + 80, kNan); }},
    {"a square below zero", "second moment of embedding",
     [](const std::string& f) { return with_number(f, values_of(f) + 2 * (960 * 8 + 8), -1.0); }}};

class Refusals {
 public:
  Refusals(const cpu::MpiProcess& process, Messages& messages, std::string path)
      : process_(process), messages_(messages), path_(std::move(path)) {}

  template <class T>
  void expect(const std::string& name, const std::string& words, SavedRun<T>& run, bool saves = false) {
    process_.barrier();
    const auto before = run.states(Field::master);
    std::string said = "nothing";
    try {
      saves ? save_checkpoint(path_, run.engine()) : load_checkpoint(path_, run.engine());
    } catch (const InputError& error) {
      said = error.what();
    }
    const bool good = said.starts_with(path_ + ": ") && said.find(words) != std::string::npos &&
                      said.find('\n') == std::string::npos && run.states(Field::master) == before;
    double wrong = good ? 0 : 1;
    messages_.all_reduce(run.engine().view().world(), &wrong, 1);
    ++counts_.cases, counts_.wrong += wrong > 0 ? 1 : 0;
    if (!good) std::printf("WRONG rank %d, %s: %s\n", process_.rank().value(), name.c_str(), said.c_str());
    process_.barrier();
  }
  Counts counts() const { return counts_; }

 private:
  const cpu::MpiProcess& process_;
  Messages& messages_;
  std::string path_;
  Counts counts_;
};

// Fails like a rank that dies while others save.
class DyingMessages final : public Forwarding {
 public:
  DyingMessages(Messages& inner, int left) : Forwarding(inner), left_(left) {}
  void all_reduce(Group group, double* values, std::int64_t count) override {
    if (left_-- == 0) throw std::runtime_error("died");
    Forwarding::all_reduce(group, values, count);
  }

 private:
  int left_;
};

// Whether a save that dies leaves the file of before as it was and nothing beside it.
bool dying_save_leaves_nothing(const Case& one, Messages& messages, const fs::path& folder) {
  const std::string path = (folder / "saved").string(), before = read_file(path);
  DyingMessages dying(messages, 7);
  SavedRun<double> run(one, dying);
  bool died = false;
  try {
    save_checkpoint(path, run.engine());
  } catch (const std::runtime_error&) {
    died = true;
  }
  const auto files = std::distance(fs::directory_iterator(folder), fs::directory_iterator());
  return died && files == 1 && read_file(path) == before;
}

}  // namespace

Counts refuse_damaged(const cpu::MpiProcess& process, Messages& messages, const fs::path& folder) {
  const std::string path = (folder / "saved").string();
  const bool first = process.rank() == Rank(0);
  const auto put = [&](const std::string& text) {
    if (first) write_file(path, text);
  };
  SavedRun<double> run(kCase, messages);
  run.steps(1);
  save_checkpoint(path, run.engine());
  const std::string good = first ? read_file(path) : "";
  Refusals refusals(process, messages, path);
  for (const Damage& damage : kDamages) {
    if (first) put(damage.made(good));
    refusals.expect(damage.name, damage.words, run);
  }
  put(good);
  SavedRun<bf16> narrow(kCase, messages);
  refusals.expect("numbers of another type", "numbers: is \"float64\" in the file and \"float32\"", narrow);
  SavedRun<double> tied({"tied", kCase.layout, 4}, messages);
  refusals.expect("another model", "model: is \"dense\" in the file and \"tied\"", tied);
  SavedRun<double> longer({kCase.model, kCase.layout, 4, 8, 16, 6}, messages);
  refusals.expect("more layers", "shape: is", longer);
  SavedRun<double> batch({kCase.model, kCase.layout, 4, 16}, messages);
  refusals.expect("another batch", "global_batch: is 8 in the file and 16", batch);
  Settings seeded = test_settings();
  seeded.seed = 2;
  SavedRun<double> other(kCase, messages, seeded);
  refusals.expect("other data", "data: is \"pattern 1 of 60\" in the file and \"pattern 2 of 60\"", other);
  Refusals missing(process, messages, (folder / "missing").string());
  missing.expect("no file", "cannot be read: No such file or directory", run);
  Refusals nowhere(process, messages, (folder / "no" / "folder").string());
  nowhere.expect("no folder to save in", "cannot be written: No such file or directory", run, true);
  Counts out = refusals.counts();
  for (const Counts& more : {missing.counts(), nowhere.counts()})
    out.cases += more.cases, out.wrong += more.wrong;
  if (first)
    ++out.cases, out.wrong += dying_save_leaves_nothing({"dense", "dp=1", 1}, messages, folder) ? 0 : 1;
  process.barrier();
  return out;
}

}  // namespace tw::train
