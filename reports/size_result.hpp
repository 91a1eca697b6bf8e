// What `size` answers, as values: one row per number of GPUs, and the rows that answer the question.
// size_json.cpp and size_text.cpp print it; nothing here computes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "reports/result.hpp"
#include "reports/table.hpp"

namespace tw {

// One phase of a job on one number of GPUs, with the layout that is best there. A batch that grows is
// several parts of one phase.
struct SizePart {
  std::int64_t tokens = 0;  // padding apart
  std::int64_t global_batch = 0;
  double steps = 0;
  Prediction best;
  Bytes checkpoint;
  Seconds write, interval, young_interval;  // of a checkpoint; between two of them, by Daly and by Young
  double goodput = 0;                       // work kept over time passed
  Seconds steps_time, time;                 // without and with failures
};

struct SizePhase {
  std::string name;
  std::int32_t seq = 0;
  std::vector<SizePart> parts;
};

struct SizeRow {
  std::int32_t gpus = 0, spare_nodes = 0, spare_gpus = 0;
  Searched searched;  // of all parts
  std::vector<SizePhase> phases;
  std::string why_not;                // empty where every phase has a layout
  std::vector<NearMiss> near_misses;  // where none fits
  Bytes limit;                        // of device memory that a layout may use
  Seconds between;                    // mean time between failures of the job
  double waiting = 0;                 // share of time that the job waits for repairs
  Seconds steps_time, time;           // of all phases, without and with failures, restarts and waiting
  double goodput = 0;                 // steps_time / time
  double gpu_hours = 0;               // of working GPUs, failures included
  std::optional<Dollars> cost;        // spares included; absent without a price
  std::optional<Joules> energy;       // of working GPUs at the board's limit; absent where that is not known
  double stragglers = 0;              // share of the steps that waits for the slowest GPU
  bool pareto = false;                // no other row is as good in GPUs, time and dollars and better in one
};

// What the rows were sized with, and where each number comes from.
struct Reliability {
  Seconds mtbf_per_gpu, detect, restart;
  std::optional<BytesPerSec> storage;           // of the whole job; absent: the cluster's, per node
  std::optional<BytesPerSec> storage_per_node;  // absent: not known, checkpoints are taken to cost nothing
  std::optional<Seconds> repair;                // of a node; absent: a healthy node stands by
  std::optional<std::int32_t> spares;           // absent: as many as cost least
  std::vector<std::string> sources;             // one line per number
};

// A published run of the same model on the same number of the same GPU.
struct PublishedBeside {
  std::string title, source;
  std::optional<double> gpu_hours, effective_time;
  double tokens_share = 1;           // of the published tokens, that the question asks for
  std::optional<Prediction> layout;  // its own layout, predicted
  Question question;                 // of that prediction
};

struct TermHours {
  Term term = Term::gemm;
  double best = 0, published = 0;  // GPU-hours without failures, of a row's layouts and of the published one
};
// The published layout is there. Terms that neither has are left out.
std::vector<TermHours> hours_by_term(const SizeRow& row, const PublishedBeside& published);

struct SizeMore {
  SizeRow row;
  std::int32_t nodes = 0;            // more than the answer's
  std::int32_t no_layout_until = 0;  // nodes in between that allow no layout
};

struct SizeResult {
  Question question;  // its gpus: of the answer
  std::string fixed;
  std::int64_t tokens = 0;
  std::optional<Seconds> deadline;
  std::optional<Dollars> budget;
  std::optional<DollarsPerSec> price;  // of a GPU
  Reliability reliability;
  std::vector<SizeRow> rows;                                       // rising in GPUs
  std::optional<std::size_t> cheapest, fastest;                    // inside the limits
  std::string answer;                                              // in one sentence
  std::vector<std::string> nearest;                                // where nothing is inside the limits
  std::optional<SizeMore> more;                                    // GPUs than the answer's
  std::vector<std::pair<std::size_t, PublishedBeside>> published;  // by index of rows
};

std::string more_text(const SizeResult& result);  // what `more` buys; it is there
Json to_json(const SizeResult& result);
std::string to_text(const SizeResult& result, const Terminal& terminal, bool quiet);

}  // namespace tw
