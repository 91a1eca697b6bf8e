// Declares a command's options: every value is text at first, so that each is refused in our words.
#pragma once

#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tw {

// Refuses an empty value and a second one.
CLI::Option* text_option(CLI::App& app, const char* name, std::string& value, const std::string& help);

}  // namespace tw
