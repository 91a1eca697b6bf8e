// Keys of a config.json that change neither shapes nor FLOPs, so that no family reads them. Meaning of
// each: the configuration classes of Hugging Face transformers 4.57 and the published configs.
#pragma once

#include <string_view>

namespace tw {

bool is_neutral_key(std::string_view key);

}  // namespace tw
