// A value at run time: rows x width stored elements, or values of the type that sums are made in
// (statistics, partial results), or what a router chose.
#pragma once

#include <memory>
#include <vector>

#include "kernels/ops.hpp"

namespace tw::train {

// Of the buffer that is there.
template <class X>
std::int64_t bytes_of(const std::vector<X>& buffer) {
  return static_cast<std::int64_t>(buffer.capacity() * sizeof(X));
}

template <class T>
struct Tensor {
  using Sum = cpu::Acc<T>;
  std::int64_t rows = 0, width = 0;
  std::vector<T> data;
  std::vector<Sum> sums;
  // Of a choice: experts of each row and their weights; sums holds all probabilities.
  std::vector<std::int32_t> experts;
  std::vector<Sum> weights;

  Tensor(std::int64_t r, std::int64_t w) : rows(r), width(w) {}
  std::int64_t size() const { return rows * width; }
  std::int64_t bytes() const {
    return bytes_of(data) + bytes_of(sums) + bytes_of(experts) + bytes_of(weights);
  }
  cpu::Rows<const T> view(std::int64_t column = 0) const { return {data.data() + column, width}; }
  cpu::Rows<T> view(std::int64_t column = 0) { return {data.data() + column, width}; }
};

template <class T>
using Handle = std::shared_ptr<Tensor<T>>;

template <class T>
Handle<T> elements(std::int64_t rows, std::int64_t width) {
  auto out = std::make_shared<Tensor<T>>(rows, width);
  out->data.resize(static_cast<std::size_t>(rows * width));
  return out;
}

template <class T>
Handle<T> sums(std::int64_t rows, std::int64_t width) {
  auto out = std::make_shared<Tensor<T>>(rows, width);
  out->sums.assign(static_cast<std::size_t>(rows * width), cpu::Acc<T>(0));
  return out;
}

// Routed rows as they lie: segments by (local) expert, and what each row is multiplied by.
template <class T>
struct RoutedRows {
  std::vector<cpu::Segment> segments;
  std::vector<cpu::Acc<T>> factors;
  std::int64_t rows() const { return static_cast<std::int64_t>(factors.size()); }
};

// The way of a layer's routed rows for one micro-batch, written by the forward as it goes; the backward
// goes back along it. A replay writes the same again.
template <class T>
struct Routes {
  std::vector<std::int64_t> token, slot;     // of each permuted row: its token, and row * top_k + choice
  std::vector<std::int64_t> sent, received;  // rows to and from each rank of the experts
  std::vector<std::int64_t> gathered;        // rows of each rank that holds a part of the same experts
  std::vector<std::int64_t> order;           // sorted row i was row order[i]
  RoutedRows<T> arrived;  // on this rank, before those of others with a part of the same experts
  RoutedRows<T> here;     // as the experts read them
  std::vector<cpu::Acc<T>> factor_gradients;  // on their way back
};

}  // namespace tw::train
