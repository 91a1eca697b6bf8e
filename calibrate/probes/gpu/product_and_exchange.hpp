// A GEMM and a collective with operands of their own, for probes that run both.
#pragma once

#include "calibrate/probes/gpu/probe.hpp"

namespace tw::gpu {

class ProductAndExchange {
 public:
  // shape: bytes, ranks, m, n, k, and what a probe adds.
  ProductAndExchange(Bench& bench, Exchange kind, const std::vector<std::int64_t>& shape, Stream network);
  ProductAndExchange(const ProductAndExchange&) = delete;
  ProductAndExchange& operator=(const ProductAndExchange&) = delete;
  const Run& product() const { return product_; }
  const Run& exchange() const { return exchange_; }

 private:
  Rotating in_, out_, x_, w_, y_;
  Gemm gemm_;
  Run product_, exchange_;
};

// The operation before the first dot of a row's name: "all_gather" of "all_gather.led".
std::string exchange_of(const std::string& op);
Exchange exchange_named(const std::string& name);

// Rows of these names, one sample each of `sample` until there are three, with the state of the GPU.
std::vector<LogRow> three_samples(Bench& bench, const Case& one, const std::vector<std::string>& names,
                                  const std::function<std::vector<double>()>& sample);

}  // namespace tw::gpu
