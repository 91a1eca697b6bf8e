// One rank's view of a Program: its groups, made once, and its rows of a micro-batch.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "costmodel/program/program.hpp"
#include "kernels/backend/messages.hpp"
#include "train/data.hpp"

namespace tw::train {

class View {
 public:
  View(const Program& program, Rank rank);

  const Program& program() const { return program_; }
  const Model& model() const { return program_.input().model; }
  Rank rank() const { return rank_; }
  std::int32_t stage() const { return stage_; }
  std::int32_t seq() const { return program_.input().job.seq; }
  std::int64_t global_batch() const { return program_.input().job.global_batch; }
  std::span<const Unit> units() const { return program_.units(stage_); }
  std::span<const Step> steps() const { return program_.steps(stage_); }

  Group group(GroupKey key) const;
  Group cut_group(Scope scope) const { return cut_[static_cast<std::size_t>(scope)]; }
  std::size_t cut_index() const { return cut_index_; }
  std::size_t index_in(Group group) const;
  Group world() const { return world_; }

  // Of a tensor with so many rows: of whole rows, or of this rank's part of them.
  std::span<const std::int32_t> positions(std::int64_t rows) const { return part(positions_, rows); }
  std::span<const std::int32_t> sequences(std::int64_t rows) const { return part(sequences_, rows); }
  // Of the rows of every rank of a group, one after the other.
  struct Tags {
    std::vector<std::int32_t> positions, sequences;
  };
  Tags tags_of(Rank rank) const;
  // Tokens of whole rows; `ahead` 1: what they should predict.
  std::vector<std::int32_t> tokens(const Data& data, std::int64_t step, std::int32_t microbatch,
                                   std::int32_t ahead) const;

 private:
  std::span<const std::int32_t> part(const std::vector<std::int32_t>& whole, std::int64_t rows) const;

  const Program& program_;
  Rank rank_;
  std::int32_t stage_;
  std::vector<Rank> cut_[2], world_;
  std::size_t cut_index_ = 0;
  std::vector<std::int32_t> positions_, sequences_;
  mutable std::map<std::pair<int, int>, std::vector<Rank>> groups_;
};

}  // namespace tw::train
