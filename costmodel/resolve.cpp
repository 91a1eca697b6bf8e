#include "costmodel/resolve.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "topology/check.hpp"

namespace tw {
namespace {

constexpr int kWindow = 3;  // layers listed; the last one counts
constexpr std::size_t kMostOps = 256;

// What an op, or the first op of a layer, waited for longest.
struct Wait {
  double until = 0;
  const PricedOp* cause = nullptr;  // nullptr: the host
};

// Network ops of which it is known what compute beside them loses.
struct Shared {
  double seconds = 0, lost = 0;
  void add(const PricedOp& op) {
    if (op.lost < 0) return;
    seconds += op.seconds, lost += op.seconds * static_cast<double>(op.lost);
  }
};

class Window {
 public:
  Window(const PricedList& list, const StateOps& state) : list_(list), state_(state) {
    TW_CHECK(list.ops.size() <= kMostOps);
  }

  LayerTime run() {
    for (int layer = 0; layer < kWindow; ++layer) {
      counting_ = layer == kWindow - 1;
      began_ = compute();
      list_layer();
    }
    time_.seconds = compute() - began_;
    return time_;
  }

  double network_busy(bool tier) const { return busy_[tier]; }
  const Shared& shared() const { return shared_; }
  double host_busy() const { return host_busy_; }
  const PricedOp* longest_network() const { return longest_; }

 private:
  double& compute() { return free_[static_cast<std::size_t>(Stream::compute)]; }
  double& state() { return free_[static_cast<std::size_t>(Stream::state)]; }

  void list_layer() {
    Wait gate = output_.until >= gathered_.until ? output_ : gathered_;
    const double layer_start = std::max(compute(), output_.until);
    if (state_.gather) {
      state() = std::max(state(), layer_start) + state_.gather->seconds;
      gathered_ = {state(), state_.gather};
    }
    for (std::size_t i = 0; i < list_.ops.size(); ++i) finish_[i] = list_op(i, i == 0 ? gate : Wait{});
    if (list_.output >= 0) {
      output_ = {finish_[static_cast<std::size_t>(list_.output)],
                 &list_.ops[static_cast<std::size_t>(list_.output)]};
    }
    if (state_.reduce) state() = std::max(state(), compute()) + state_.reduce->seconds;
  }

  double list_op(std::size_t place, Wait wait) {
    const PricedOp& op = list_.ops[place];
    if (op.synchronises && op.beside) return host_;
    if (op.synchronises) {
      host_ = std::max(host_, compute()) + op.seconds;
      return host_;
    }
    host_ += op.host;
    for (const std::int16_t index : op.after) {
      if (index < 0) continue;
      const double done = finish_[static_cast<std::size_t>(index)];
      if (done > wait.until) wait = {done, &list_.ops[static_cast<std::size_t>(index)]};
    }
    if (host_ > wait.until) wait = {host_, nullptr};
    double& stream = free_[static_cast<std::size_t>(op.stream)];
    const double start = std::max(stream, wait.until);
    if (counting_) count(op, start - stream, wait.cause);
    if (op.beside) return wait.until;  // another micro-batch computes meanwhile: only the links are taken
    stream = start + op.seconds;
    if (op.stream == Stream::network) {
      flight_ = {place, start};
    } else if (op.stream == Stream::compute && op.yields < 1 && flight_) {
      stream += beside_flight(op, start);
    }
    return stream;
  }

  // A product and the exchange in flight want the same multiprocessors: the exchange gets on in the last
  // part of the product's time, or the product beside the rest of an exchange that was there before it, at
  // most once more as long. Returns what the product takes longer.
  double beside_flight(const PricedOp& op, double start) {
    double& lands = free_[static_cast<std::size_t>(Stream::network)];
    const double end = start + op.seconds, left = lands - std::max(start, flight_->start);
    if (left <= 0 || flight_->start >= end) return 0;
    const double over = std::max(0.0, left - static_cast<double>(op.yields) * op.seconds);
    if (flight_->start < start) {
      const double longer = std::min(over, op.seconds);
      if (counting_) time_.terms.add(Term::interference, op.curve, longer, 0), time_.busy += longer;
      return longer;
    }
    lands = std::max(lands, end + over);
    finish_[flight_->place] = lands;
    return 0;
  }

  void count(const PricedOp& op, double gap, const PricedOp* cause) {
    host_busy_ += op.host;
    if (op.stream != Stream::compute) {
      busy_[op.network_tier] += op.seconds;
      shared_.add(op);
      if (!longest_ || op.seconds > longest_->seconds) longest_ = &op;
      return;
    }
    time_.terms.add(op.term, op.curve, op.seconds, op.spread);
    time_.busy += op.seconds;
    if (gap <= 0) return;
    if (cause) {
      time_.terms.add(cause->term, cause->curve, gap, cause->spread);
    } else {
      time_.terms.add(Term::host, CurveId::host, gap, 0);
    }
  }

  const PricedList& list_;
  const StateOps& state_;
  std::array<double, kStreams> free_{};
  std::array<double, kMostOps> finish_;
  std::array<double, 2> busy_{};  // network stream: in-node, between nodes
  Shared shared_;
  double host_ = 0, began_ = 0, host_busy_ = 0;
  const PricedOp* longest_ = nullptr;
  struct Flight {
    std::size_t place;  // in the list
    double start;
  };
  std::optional<Flight> flight_;  // the last exchange
  Wait output_, gathered_;
  bool counting_ = false;
  LayerTime time_;
};

// No layer is shorter than the work of one stream: a backlog of a few per cent holds compute back only
// layers later than the window sees.
void keep_up(LayerTime& time, const Window& window) {
  const double network = window.network_busy(false) + window.network_busy(true);
  if (const double over = network - time.seconds; over > 0) {
    const PricedOp& op = *window.longest_network();
    time.seconds += over;
    time.terms.add(op.term, op.curve, over, op.spread);
  }
  if (const double over = window.host_busy() - time.seconds; over > 0) {
    time.seconds += over;
    time.terms.add(Term::host, CurveId::host, over, 0);
  }
}

// State traffic shares the links of its tier with the layer's own collectives: together they cannot
// take longer than the layer. The rest is exposed.
void share_links(LayerTime& time, const StateOps& state, const Window& window) {
  if (state.gather && state.reduce) {  // one stream: the window is too short to see its backlog
    const double over = std::max(0.0, state.gather->seconds + state.reduce->seconds - time.seconds);
    time.seconds += over;
    time.terms.add(state.reduce->term, state.reduce->curve, over, state.reduce->spread);
  }
  for (const PricedOp* op : {state.gather, state.reduce}) {
    if (!op) continue;
    double load = window.network_busy(op->network_tier) + op->seconds;
    if (state.gather && state.reduce && op == state.reduce &&
        state.gather->network_tier == op->network_tier) {
      load += state.gather->seconds;
    }
    const double over = load - time.seconds;
    // A reduction only occupies the links: nobody waits for it inside the step, unless gathers do.
    if (over <= 0 || (op == state.reduce && !state.gather)) continue;
    time.seconds += over;
    time.terms.add(op->term, op->curve, over, op->spread);
  }
}

}  // namespace

LayerTime resolve(const PricedList& list, const StateOps& state, double compute_slowdown) {
  Window window(list, state);
  LayerTime time = window.run();
  keep_up(time, window);
  share_links(time, state, window);
  double beside = window.network_busy(false) + window.network_busy(true);
  Shared shared = window.shared();
  for (const PricedOp* op : {state.gather, state.reduce}) {
    if (!op) continue;
    beside += op->seconds;
    shared.add(*op);
  }
  const double exposed = time.seconds - time.busy;
  const double hidden = std::clamp(beside - exposed, 0.0, time.busy);
  const double slowed = hidden * (shared.seconds > 0 ? shared.lost / shared.seconds : compute_slowdown - 1);
  time.seconds += slowed;
  time.terms.add(Term::interference, CurveId::gemm, slowed, 0);
  return time;
}

}  // namespace tw
