#include "topology/trace_events.hpp"

#include "topology/check.hpp"
#include "topology/units.hpp"

namespace tw {
namespace {

Json event(const char* phase, std::string_view name, TraceEvents::Track track) {
  Json out = Json::object();
  out.set("ph", phase).set("name", name).set("pid", track.process).set("tid", track.thread);
  return out;
}

Json label(const char* what, std::string_view name, TraceEvents::Track track) {
  Json arguments = Json::object();
  arguments.set("name", name);
  Json out = event("M", what, track);
  out.set("args", std::move(arguments));
  return out;
}

}  // namespace

void TraceEvents::add(const Json& event) {
  lines_ += event.dump(-1) + ",\n";
}

void TraceEvents::name_process(std::int32_t process, std::string_view name) {
  add(label("process_name", name, {process, 0}));
}

void TraceEvents::name(Track track, std::string_view name) {
  add(label("thread_name", name, track));
}

namespace {

Json piece(TraceEvents::Track track, std::string_view name, std::string_view category, double begin_s,
           double end_s) {
  TW_CHECK(end_s >= begin_s);
  Json out = event("X", name, track);
  out.set("cat", category).set("ts", in_us(Seconds(begin_s))).set("dur", in_us(Seconds(end_s - begin_s)));
  return out;
}

}  // namespace

void TraceEvents::slice(Track track, std::string_view name, std::string_view category, double begin_s,
                        double end_s) {
  add(piece(track, name, category, begin_s, end_s));
}

void TraceEvents::slice(Track track, std::string_view name, std::string_view category, double begin_s,
                        double end_s, Json arguments) {
  Json out = piece(track, name, category, begin_s, end_s);
  out.set("args", std::move(arguments));
  add(out);
}

void TraceEvents::counter(std::int32_t process, std::string_view name, double at_s, double value) {
  Json out = Json::object(), values = Json::object();
  values.set("value", value);
  out.set("ph", "C").set("name", name).set("pid", process).set("ts", in_us(Seconds(at_s)));
  out.set("args", std::move(values));
  add(out);
}

std::string TraceEvents::text(const Json& about) const {
  const std::string_view events =
      std::string_view(lines_).substr(0, lines_.size() < 2 ? 0 : lines_.size() - 2);
  return "{\"displayTimeUnit\": \"ms\", \"otherData\": " + about.dump(-1) + ",\n\"traceEvents\": [\n" +
         std::string(events) + "\n]}\n";
}

}  // namespace tw
