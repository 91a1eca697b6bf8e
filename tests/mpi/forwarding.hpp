// Messages that are passed on as they are, for a test that changes some of them.
#pragma once

#include "kernels/backend/messages.hpp"

namespace tw {

class Forwarding : public Messages {
 public:
  explicit Forwarding(Messages& inner) : inner_(inner) {}

  Rank self() const override { return inner_.self(); }
  void all_gather(Group group, const void* piece, std::int64_t bytes, void* whole) override {
    inner_.all_gather(group, piece, bytes, whole);
  }
  void all_gather_v(Group group, const void* piece, Sizes bytes, void* whole) override {
    inner_.all_gather_v(group, piece, bytes, whole);
  }
  void all_to_all_v(Group group, const void* out, Sizes out_bytes, void* in, Sizes in_bytes) override {
    inner_.all_to_all_v(group, out, out_bytes, in, in_bytes);
  }
  void all_reduce(Group group, double* values, std::int64_t count) override {
    inner_.all_reduce(group, values, count);
  }
  void all_reduce(Group group, float* values, std::int64_t count) override {
    inner_.all_reduce(group, values, count);
  }
  void reduce_scatter(Group group, const double* whole, Sizes counts, double* piece) override {
    inner_.reduce_scatter(group, whole, counts, piece);
  }
  void reduce_scatter(Group group, const float* whole, Sizes counts, float* piece) override {
    inner_.reduce_scatter(group, whole, counts, piece);
  }
  void send(Rank to, std::int32_t tag, const void* data, std::int64_t bytes) override {
    inner_.send(to, tag, data, bytes);
  }
  void receive(Rank from, std::int32_t tag, void* data, std::int64_t bytes) override {
    inner_.receive(from, tag, data, bytes);
  }
  void finish_sends() override { inner_.finish_sends(); }

 private:
  Messages& inner_;
};

}  // namespace tw
