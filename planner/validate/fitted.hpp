// The one list of numbers that were chosen so that published rows come out right
// (scenarios/published/fitted.json), and the studies that they are held against
// (scenarios/published/studies.json).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/validate/row.hpp"
#include "planner/validate/scenarios.hpp"
#include "topology/described.hpp"

namespace tw::validate {

// One part of a study: a table of a paper, a file of a repository. Parts of one study are left out of a
// fit together.
struct Study {
  std::string name, study;
  std::string match;   // stands in the rows' source
  std::string claim;   // what other simulators claim on the same data
  std::string source;  // of the claim
};
TW_DESCRIBE(Study, name, study, match, claim, source);

struct StudyList {
  std::string title, source;
  std::vector<Study> studies;
};
TW_DESCRIBE(StudyList, title, source, studies);

struct Place {
  std::string file, pointer;  // below scenarios/; RFC 6901
};
TW_DESCRIBE(Place, file, pointer);

struct RowsUsed {
  std::string study;
  std::optional<std::string> only, without;  // words of a row's id, group or ZeRO stage
};
TW_DESCRIBE(RowsUsed, study, only, without);

// Values are texts: "1.13", or with a unit "4.7 ms".
struct FittedConstant {
  std::string name, meaning;
  std::vector<Place> places;  // where the value stands: the same in all of them
  std::string value, neutral, low, high;
  std::vector<RowsUsed> rows;
  std::map<std::string, std::string> left_out;  // by study: the value fitted without it
};
TW_DESCRIBE(FittedConstant, name, meaning, places, value, neutral, low, high, rows, left_out);

// Fitted to something else than training steps; listed so that every fitted number is in one place.
struct FittedElsewhere {
  std::string name, meaning;
  std::vector<Place> places;
  std::string value, neutral, low, high, rows;
};
TW_DESCRIBE(FittedElsewhere, name, meaning, places, value, neutral, low, high, rows);

struct FittedList {
  std::string title, source;
  std::vector<FittedConstant> constants;  // of the predicted time
  std::vector<FittedElsewhere> elsewhere;
  std::vector<FittedConstant> bands;  // of the band alone; fitted to rows of studies left out
};
TW_DESCRIBE(FittedList, title, source, constants, elsewhere, bands);

struct Amount {
  double number = 0;
  std::string unit;
};
Amount amount_of(const std::string& text);  // InputError where it is not a number with or without unit
std::string text_of(const Amount& amount);  // three significant digits
Amount amount_at(const JsonView& node);     // of a number or a string in a scenario file
void set(Scenarios& scenarios, const std::vector<Place>& places, const std::string& value);

FittedList load_fitted();
std::vector<Study> load_studies();
const Study* study_of(const std::vector<Study>& studies, const std::string& source);  // null: not listed

// The files with every constant at its neutral value, or as fitted without `study`.
Scenarios neutral(const FittedList& list);
bool depends_on(const FittedList& list, const std::string& study);
Scenarios left_out(const FittedList& list, const std::string& study);

}  // namespace tw::validate
