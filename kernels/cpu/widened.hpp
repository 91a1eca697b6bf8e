// Working copies for operators that compute in Acc<T>: none where T is already that type.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/cpu/element.hpp"

namespace tw::cpu {

template <class T>
inline constexpr bool is_narrow = !std::is_same_v<T, Acc<T>>;

// Reads `width` values of each row as Acc<T>.
template <class T>
class Widened {
 public:
  Widened(std::int64_t rows, std::int64_t width, Rows<const T> from) {
    if constexpr (is_narrow<T>) {
      buffer_.resize(static_cast<std::size_t>(rows * width));
      view_ = {buffer_.data(), width};
      for (std::int64_t row = 0; row < rows; ++row) {
        std::transform(from[row], from[row] + width, buffer_.data() + row * width,
                       [](T value) { return static_cast<Acc<T>>(value); });
      }
    } else {
      view_ = from;
    }
  }
  Rows<const Acc<T>> view() const { return view_; }

 private:
  std::vector<Acc<T>> buffer_;
  Rows<const Acc<T>> view_;
};

// Takes `count` results as Acc<T>; store() rounds them to where they belong.
template <class T>
class Narrowed {
 public:
  Narrowed(std::int64_t count, T* to) : to_(to) {
    if constexpr (is_narrow<T>) buffer_.resize(static_cast<std::size_t>(count));
  }
  Acc<T>* data() {
    if constexpr (is_narrow<T>) {
      return buffer_.data();
    } else {
      return to_;
    }
  }
  void store() const {
    if constexpr (is_narrow<T>) {
      std::transform(buffer_.begin(), buffer_.end(), to_, [](Acc<T> value) { return static_cast<T>(value); });
    }
  }

 private:
  std::vector<Acc<T>> buffer_;
  T* to_;
};

}  // namespace tw::cpu
