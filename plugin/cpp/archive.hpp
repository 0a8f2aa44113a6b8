// Integrity of a model file, which is a zip archive.
#pragma once

#include <string>

namespace mollifield {

// Compares every entry with its checksum in the archive, which torch's reader does not look at: a flipped bit in a
// weight is a slightly wrong potential. Throws std::runtime_error that names the entry. Returns the CRC-32 of the whole
// file, eight hexadecimal digits.
std::string check_archive(const std::string &path);

// Whether a sound archive holds no code but the keys of a model as the trainer packs it: it was never exported.
bool is_training_checkpoint(const std::string &path);

}  // namespace mollifield
