// --layout: one layout, legal for the question.
#pragma once

#include "planner/problem.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tw {

CLI::Option* layout_option(CLI::App& app, std::string& layout);
// InputError where it is not legal, or cannot be priced.
Layout legal_layout(const std::string& text, const Problem& problem);

}  // namespace tw
