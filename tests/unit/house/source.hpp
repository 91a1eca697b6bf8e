// The source as text for the house rules of architecture: files, code without comments and strings,
// and the rules as functions from text to findings, so that each is tested on planted faults too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tw::house {

struct SourceFile {
  std::string path;  // from the root of the source, with '/'
  std::string text;
};

// Regular files under `folders` (or files named there) with one of the extensions, sorted by path;
// absent folders have none.
std::vector<SourceFile> files_under(const std::vector<std::string>& folders,
                                    const std::vector<std::string>& extensions);

// Comments and the contents of string and character literals become spaces; line ends stay.
std::string code_of(std::string_view text);

// A finding reads "path:line: what is wrong".
using Findings = std::vector<std::string>;

// `#include "..."` of a folder that the including file's folder may not use.
Findings forbidden_includes(const SourceFile& file);
// Longer than `limit` lines.
Findings too_long(const SourceFile& file, int limit);
// Unit factors in code: a literal written with the exponent 3 to 15 (1e9, 2.5e+12), a whole literal
// that is 10^3, 10^6, ... 10^15 or 1024^1 ... 1024^5 (with or without ' and suffix), and shifts by 10,
// 20, 30, 40 or 50. Not caught: 86400, 3600, hexadecimal, factors built from other numbers, and a line
// that defines a limit: `constexpr ... kMaxX = ` (kMax, kMost, or a name that ends in Limit).
Findings unit_factors(const SourceFile& file);
// One of the words as an identifier in code.
Findings words(const SourceFile& file, const std::vector<std::string>& forbidden);
// A path that exists on one machine only, anywhere in the text.
Findings machine_paths(const SourceFile& file);

}  // namespace tw::house
