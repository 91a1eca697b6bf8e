#include "train/checkpoint.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>

#include "topology/check.hpp"
#include "topology/described.hpp"

namespace tw::train {
namespace {

struct SavedWeight {
  std::string name;
  std::int64_t elements = 0;
};
TW_DESCRIBE(SavedWeight, name, elements);

struct Header {
  std::string model, shape, numbers, data;
  std::int64_t steps_done = 0, global_batch = 0;
  std::int32_t seq = 0;
  Settings settings;
  std::vector<SavedWeight> weights;
};
TW_DESCRIBE(Header, model, shape, numbers, data, steps_done, global_batch, seq, settings, weights);

static_assert(std::endian::native == std::endian::little);
constexpr int kVersion = 1;
constexpr char kFirstLine[] = "trainwright-checkpoint {} {}\n";
constexpr std::size_t kMaxFirstLine = 64;
constexpr std::pair<Field, std::string_view> kFields[] = {{Field::master, "master"},
                                                          {Field::first_moment, "first moment"},
                                                          {Field::second_moment, "second moment"}};

[[noreturn]] void fail(const std::string& path, std::string_view where, const std::string& what) {
  throw InputError(path, where, what);
}

// What changes how the weights are used, though not their number or size.
std::string shape_of(const Model& model) {
  std::string out = fmt::format("hidden {} vocabulary {}{}", model.hidden, model.vocab,
                                model.tied_embeddings ? " tied" : "");
  for (const LayerKind& kind : model.kinds) {
    const Attention& a = kind.attention;
    out += fmt::format("; {} heads of {} over {}{}", a.heads, a.head_dim, a.kv_heads,
                       a.qk_norm == QkNorm::none ? "" : " with norms");
    if (kind.mlp) out += fmt::format(", width {}", kind.mlp->ffn);
    if (kind.moe)
      out += fmt::format(", {} of {} experts of {} and {} shared", kind.moe->top_k, kind.moe->experts,
                         kind.moe->ffn, kind.moe->shared_ffn);
  }
  out += "; layers";
  for (const std::uint8_t kind : model.layer_kind) out += fmt::format(" {}", kind);
  return out;
}

Header header_of(const KeptRun& run) {
  const View& view = run.view;
  Header out{.model = view.model().name,
             .shape = shape_of(view.model()),
             .numbers = run.doubles ? "float64" : "float32",
             .data = run.data.name(),
             .steps_done = run.steps_done,
             .global_batch = view.global_batch(),
             .seq = view.seq(),
             .settings = run.settings,
             .weights = {}};
  for (const NamedWeight& weight : named_weights(view.program()))
    out.weights.push_back({weight.name, weight.elements});
  return out;
}

// Does `work` on the first rank; where it fails, all ranks throw what it threw.
template <class Work>
void on_first(const std::string& path, const KeptRun& run, Work work) {
  std::string error;
  const Group world = run.view.world();
  if (run.view.rank() == world.front()) {
    try {
      work();
    } catch (const std::exception& failure) {
      error = failure.what();
      TW_CHECK(!error.empty());
    }
  }
  std::vector<std::int64_t> sizes(world.size(), 0);
  const auto own = static_cast<std::int64_t>(error.size());
  run.messages.all_gather(world, &own, sizeof own, sizes.data());
  if (sizes.front() == 0) return;
  std::string said(static_cast<std::size_t>(sizes.front()), ' ');
  run.messages.all_gather_v(world, error.data(), sizes, said.data());
  const std::string file = printable(path, 400) + ": ";  // as InputError begins
  fail(path, "", said.starts_with(file) ? said.substr(file.size()) : said);
}

// A file that gets its name only when it is complete, and else goes.
class NewFile {
 public:
  ~NewFile() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    ::unlink(temporary_.c_str());
  }
  void open(const std::string& path) {
    path_ = path, temporary_ = path + ".XXXXXX";
    const int descriptor = ::mkstemp(temporary_.data());
    if (descriptor < 0) give_up();
    file_ = ::fdopen(descriptor, "wb");
  }
  // Errors are kept for finish(): the other ranks go on sending.
  void write(const void* data, std::size_t bytes) {
    if (file_ == nullptr || error_ != 0) return;
    if (std::fwrite(data, 1, bytes, file_) != bytes) error_ = errno;
  }
  void finish() {
    errno = error_;
    if (error_ != 0 || std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) give_up();
    namespace fs = std::filesystem;
    fs::permissions(temporary_, fs::perms(0666) & ~mask());
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) give_up();
    std::fclose(file_);
    file_ = nullptr;
  }

 private:
  static std::filesystem::perms mask() {
    const mode_t mask = ::umask(0);
    ::umask(mask);
    return std::filesystem::perms(mask);
  }
  [[noreturn]] void give_up() const {
    fail(path_, "", fmt::format("cannot be written: {}", std::strerror(errno)));
  }
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  int error_ = 0;
};

std::uint64_t hash_of(const void* data, std::size_t bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto* at = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 1099511628211ULL;
  return hash;
}

// Reads a file from front to end on one rank.
template <class Number>
class OldFile {
 public:
  explicit OldFile(const std::string& path) : path_(path) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (!error) file_.reset(std::fopen(path.c_str(), "rb"));
    if (!file_)
      fail(path, "", fmt::format("cannot be read: {}", error ? error.message() : std::strerror(errno)));
    size_ = static_cast<std::int64_t>(size);
  }

  Header header() {
    const std::int64_t length = header_bytes();
    std::string text(static_cast<std::size_t>(length), ' ');
    take(text.data(), text.size());
    return read<Header>(parse_json(text, path_));
  }
  // Called once the weights of the header are known to be the model's.
  void expect_size(const Header& header) const {
    std::int64_t wanted = begun_;
    for (const SavedWeight& weight : header.weights)
      wanted += static_cast<std::int64_t>(std::size(kFields)) *
                (weight.elements * static_cast<std::int64_t>(sizeof(Number)) + 8);
    if (size_ == wanted) return;
    fail(path_, "",
         fmt::format("has {} bytes and should have {}: it was {}; only a whole file can be resumed", size_,
                     wanted, size_ < wanted ? "cut off" : "added to"));
  }
  std::vector<double> values(const SavedWeight& weight, std::size_t field) {
    std::vector<Number> kept(static_cast<std::size_t>(weight.elements));
    std::uint64_t hash = 0;
    take(kept.data(), kept.size() * sizeof(Number)), take(&hash, sizeof hash);
    const auto where = [&] { return fmt::format("{} of {}", kFields[field].second, weight.name); };
    for (std::size_t i = 0; i < kept.size(); ++i) {
      const bool good =
          std::isfinite(kept[i]) && (kFields[field].first != Field::second_moment || kept[i] >= 0);
      if (!good)
        fail(
            path_, where(),
            fmt::format("element {} is {}; legal: finite numbers, moments of squares from 0 on", i, kept[i]));
    }
    if (hash != hash_of(kept.data(), kept.size() * sizeof(Number)))
      fail(path_, where(), "is not what was written (its hash differs): the file was damaged");
    return {kept.begin(), kept.end()};
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::int64_t header_bytes() {
    char line[kMaxFirstLine] = {};
    int version = 0, end = 0;
    long long length = -1;
    const bool there = std::fgets(line, sizeof line, file_.get()) != nullptr;
    const int found =
        there ? std::sscanf(line, "trainwright-checkpoint %d %lld\n%n", &version, &length, &end) : 0;
    if (found >= 1 && version != kVersion)
      fail(path_, "version", fmt::format("is {}; legal: {}", version, kVersion));
    begun_ = static_cast<std::int64_t>(std::strlen(line));
    if (found != 2 || line[begun_ - 1] != '\n')
      fail(path_, "", "is no checkpoint; legal: a file that trainwright-train --save wrote");
    if (length < 0 || length > size_ - begun_)
      fail(path_, "header",
           fmt::format("should have {} bytes, the file has {}: it was cut off", length, size_));
    begun_ += length;
    return length;
  }
  void take(void* to, std::size_t bytes) {
    if (std::fread(to, 1, bytes, file_.get()) != bytes) fail(path_, "", "ended early while it was read");
  }

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::int64_t size_ = 0, begun_ = 0;  // of the file; of all before the values
};

void same(const std::string& path, const JsonView& saved, const JsonView& here) {
  for (const std::string& key : here.keys()) {
    if (key == "weights" || key == "steps_done") continue;
    const JsonView a = saved.at(key), b = here.at(key);
    if (b.is_object())
      same(path, a, b);
    else if (a.dump() != b.dump())
      fail(path, a.path(),
           fmt::format("is {} in the file and {} in this run; legal: what it was saved with",
                       printable(a.dump(), 200), printable(b.dump(), 200)));
  }
}

void refuse_other(const std::string& path, const Header& saved, const Header& here) {
  same(path, parse_json(to_json(saved).dump(), path), parse_json(to_json(here).dump(), path));
  if (saved.steps_done < 0) fail(path, "steps_done", "is negative; legal: 0 or more");
  if (saved.weights.size() != here.weights.size())
    fail(path, "weights",
         fmt::format("are {}; this model has {}", saved.weights.size(), here.weights.size()));
  for (std::size_t i = 0; i < here.weights.size(); ++i) {
    const SavedWeight &a = saved.weights[i], &b = here.weights[i];
    if (a.name != b.name || a.elements != b.elements)
      fail(path, fmt::format("weights[{}]", i),
           fmt::format("is {} of {} elements; this model has {} of {} there", printable(a.name), a.elements,
                       b.name, b.elements));
  }
}

template <class Number>
void save(const std::string& path, const KeptRun& run) {
  const Header header = header_of(run);
  NewFile file;
  on_first(path, run, [&] {
    file.open(path);
    const std::string text = to_json(header).dump() + "\n";
    const std::string line = fmt::format(kFirstLine, kVersion, text.size());
    file.write(line.data(), line.size()), file.write(text.data(), text.size());
  });
  for (const NamedWeight& weight : named_weights(run.view.program())) {
    for (const auto& [field, name] : kFields) {
      const std::vector<double> whole = run.collect(field, weight);
      if (run.view.rank() != run.view.world().front()) continue;
      std::vector<Number> kept(whole.size());
      std::transform(whole.begin(), whole.end(), kept.begin(),
                     [](double v) { return static_cast<Number>(v); });
      const std::uint64_t hash = hash_of(kept.data(), kept.size() * sizeof(Number));
      file.write(kept.data(), kept.size() * sizeof(Number)), file.write(&hash, sizeof hash);
    }
  }
  on_first(path, run, [&] { file.finish(); });
}

template <class Number>
void load(const std::string& path, const KeptRun& run) {
  const Header here = header_of(run);
  const Group world = run.view.world();
  const bool first = run.view.rank() == world.front();
  std::int64_t steps = 0;
  std::optional<OldFile<Number>> file;
  on_first(path, run, [&] {
    file.emplace(path);
    const Header saved = file->header();
    refuse_other(path, saved, here);
    file->expect_size(saved);
    for (const SavedWeight& weight : saved.weights) {
      for (std::size_t f = 0; f < std::size(kFields); ++f) file->values(weight, f);
    }
    steps = saved.steps_done;
    file.emplace(path);
    file->header();
  });
  const std::vector<NamedWeight> weights = named_weights(run.view.program());
  for (std::size_t w = 0; w < weights.size(); ++w) {
    for (std::size_t f = 0; f < std::size(kFields); ++f) {
      const std::vector<double> whole = first ? file->values(here.weights[w], f) : std::vector<double>();
      std::vector<double> all(static_cast<std::size_t>(weights[w].elements));
      std::vector<std::int64_t> bytes(world.size(), 0);
      bytes.front() = weights[w].elements * static_cast<std::int64_t>(sizeof(double));
      run.messages.all_gather_v(world, whole.data(), bytes, all.data());
      run.restore(kFields[f].first, weights[w], all);
    }
  }
  std::vector<std::int64_t> said(world.size());
  run.messages.all_gather(world, &steps, sizeof steps, said.data());
  run.restored(said.front());
}

}  // namespace

void save_run(const std::string& path, const KeptRun& run) {
  run.doubles ? save<double>(path, run) : save<float>(path, run);
}
void load_run(const std::string& path, const KeptRun& run) {
  run.doubles ? load<double>(path, run) : load<float>(path, run);
}

}  // namespace tw::train
