// The questions of validate --studies: what was asked, predicted and published.
#include "reports/section.hpp"

namespace tw {
namespace {

// Cases that say a number, as ratios of predicted to published; cases of fits or not are in the table alone.
DataTable cases_of(const JsonView& questions, bool numbers) {
  DataTable out({{"question", "question"},
                 {"name", "case"},
                 {"ratio", "predicted over published", Show::number},
                 {"predicted", "predicted", Show::number},
                 {"measured", "published", Show::number},
                 {"right", "the question"}});
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const JsonView cases = questions[q].at("cases");
    const std::string right = questions[q].at("right").boolean() ? "right" : "wrong";
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const JsonView predicted = cases[i].at("predicted"), measured = cases[i].at("measured");
      if (predicted.is_number() != numbers) continue;
      const std::string question = questions[q].at("name").string(), name = cases[i].at("name").string();
      if (numbers)
        out.row({question, name, number_at(cases[i], "ratio"), predicted.number(), measured.number(), right});
      else
        out.row({question, name, Cell(), std::string(predicted.boolean() ? "fits" : "does not fit"),
                 std::string(measured.boolean() ? "fits" : "does not fit"), right});
    }
  }
  return out;
}

std::vector<Piece> build(const JsonView& result) {
  if (kind_of(result) != "studies") return {};
  const JsonView questions = result.at("questions");
  std::vector<Piece> out;
  DataTable numbers = cases_of(questions, true), fits = cases_of(questions, false);
  if (!numbers.empty())
    out.push_back(Chart{"Predicted over published, of every case; 1 is exact", "Points of ratios by question",
                        std::move(numbers), Json::parsed(R"vega({
    "mark": "point",
    "encoding": {"y": {"field": "question", "type": "nominal", "sort": null, "title": null},
                 "x": {"field": "ratio", "type": "quantitative", "title": "predicted over published",
                       "scale": {"type": "log", "nice": false, "padding": 10}},
                 "color": {"field": "right", "type": "nominal", "sort": null}}})vega"),
                        18, "question"});
  if (!fits.empty()) out.push_back(Listed{"Whether it fits", std::move(fits)});
  return out;
}

}  // namespace

namespace sections {
extern constinit const Section questions;
constinit const Section questions = {"questions", 0, "Questions", build};
}  // namespace sections
}  // namespace tw
