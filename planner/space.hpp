// Which layouts are searched: what the framework can run (Profile::can), limits that users expect,
// and the keys they fixed, which lift both.
#pragma once

#include "costmodel/profile.hpp"
#include "planner/enumerate.hpp"
#include "planner/problem.hpp"

namespace tw {

// `fixed`: text of --fix, or empty.
SearchSpace space_of(const Problem& problem, const std::string& fixed);
// The limits in words, for --help.
std::string_view limits_help();
// Empty where the framework can run the layout, else what it cannot.
std::string beyond_framework(const Profile& profile, const Model& model, const Layout& layout);

}  // namespace tw
