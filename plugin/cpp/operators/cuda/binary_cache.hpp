// Compiled kernels on disk, so that a model that has run on a machine starts at once the next time.
#pragma once

#include <optional>
#include <string>

namespace mollifield::operators::cuda {

// XDG_CACHE_HOME/mollifield, else ~/.cache/mollifield; empty where the environment names neither.
std::string cache_folder();

// SHA-1 of the text, forty hexadecimal digits.
std::string digest(const std::string &text);

// What was stored under this name; nothing where there is none, and where the file is damaged.
std::optional<std::string> read_cached(const std::string &name);

// For the next time; appears under its name only when it is whole, whoever else writes it at the same moment. A folder
// that cannot be written to costs the next start some seconds, and is no error.
void keep_cached(const std::string &name, const std::string &content);

}  // namespace mollifield::operators::cuda
