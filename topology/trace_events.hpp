// Timelines in the trace-event format (its JSON object form) that Perfetto and chrome://tracing open:
// docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. A track is a thread of a process;
// times are seconds here and microseconds in the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "topology/json.hpp"

namespace tw {

class TraceEvents {
 public:
  struct Track {
    std::int32_t process = 0, thread = 0;
  };
  void name_process(std::int32_t process, std::string_view name);
  void name(Track track, std::string_view name);
  // category: what a viewer filters by.
  void slice(Track track, std::string_view name, std::string_view category, double begin_s, double end_s);

  // With what a viewer shows beside it.
  void slice(Track track, std::string_view name, std::string_view category, double begin_s, double end_s,
             Json arguments);
  // From this moment on.
  void counter(std::int32_t process, std::string_view name, double at_s, double value);

  // Events as text, to be added to those of another process.
  const std::string& lines() const { return lines_; }
  void add_lines(std::string_view lines) { lines_ += lines; }

  std::string text(const Json& about) const;  // about: where the timeline comes from

 private:
  void add(const Json& event);
  std::string lines_;
};

}  // namespace tw
