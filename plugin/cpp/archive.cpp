#include "archive.hpp"

#include <caffe2/serialize/inline_container.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string_view>

namespace mollifield {

namespace {

using Bytes = std::string;

// Layout of zip: APPNOTE 6.3, sections 4.3.12 to 4.3.16.
constexpr std::size_t END_SIZE = 22, LOCATOR_SIZE = 20, ENTRY_SIZE = 46;
const Bytes END_MARK("PK\5\6", 4), LOCATOR_MARK("PK\6\7", 4), ENTRY_MARK("PK\1\2", 4);

// Little-endian unsigned number of `size` bytes.
std::uint64_t number(const Bytes &bytes, std::size_t at, std::size_t size)
{
  if (at > bytes.size() || size > bytes.size() - at) throw std::runtime_error("its directory is incomplete");
  std::uint64_t value = 0;
  for (std::size_t k = size; k-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + k]);
  return value;
}

std::uint32_t crc32(const char *data, std::size_t size)
{
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      t[n] = n;
      for (int bit = 0; bit < 8; ++bit) t[n] = (t[n] & 1 ? 0xEDB88320U : 0U) ^ t[n] >> 1;
    }
    return t;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (std::size_t k = 0; k < size; ++k) crc = table[(crc ^ static_cast<unsigned char>(data[k])) & 0xFF] ^ crc >> 8;
  return ~crc;
}

// Checksums by entry name.
std::map<Bytes, std::uint32_t> directory(const Bytes &bytes)
{
  const std::size_t end = bytes.rfind(END_MARK);
  if (end == Bytes::npos || bytes.size() - end < END_SIZE) throw std::runtime_error("it has no directory at its end");
  std::uint64_t count = number(bytes, end + 10, 2), at = number(bytes, end + 16, 4);
  if (end >= LOCATOR_SIZE && bytes.compare(end - LOCATOR_SIZE, 4, LOCATOR_MARK) == 0) {
    const std::uint64_t end64 = number(bytes, end - LOCATOR_SIZE + 8, 8);
    count = number(bytes, end64 + 32, 8);
    at = number(bytes, end64 + 48, 8);
  }
  std::map<Bytes, std::uint32_t> result;
  for (std::uint64_t k = 0; k < count; ++k) {
    if (at > bytes.size() || bytes.compare(at, 4, ENTRY_MARK) != 0)
      throw std::runtime_error("its directory is damaged");
    const std::size_t name_size = number(bytes, at + 28, 2);
    const std::size_t rest = number(bytes, at + 30, 2) + number(bytes, at + 32, 2);
    result[bytes.substr(at + ENTRY_SIZE, name_size)] = static_cast<std::uint32_t>(number(bytes, at + 16, 4));
    at += ENTRY_SIZE + name_size + rest;
  }
  return result;
}

}  // namespace

std::string check_archive(const std::string &path)
{
  std::ifstream file(path, std::ios::binary);
  const Bytes bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto checksums = directory(bytes);
  caffe2::serialize::PyTorchStreamReader reader(path);
  for (const auto &[name, checksum] : checksums) {
    // The reader leaves out the name of the archive's top folder.
    const auto [data, size] = reader.getRecord(name.substr(name.find('/') + 1));
    if (crc32(static_cast<const char *>(data.get()), size) != checksum)
      throw std::runtime_error("the checksum of '" + name + "' is wrong");
  }
  char digits[9];
  std::snprintf(digits, sizeof(digits), "%08x", static_cast<unsigned>(crc32(bytes.data(), bytes.size())));
  return digits;
}

bool is_training_checkpoint(const std::string &path)
{
  caffe2::serialize::PyTorchStreamReader reader(path);
  if (reader.hasRecord("constants.pkl") || !reader.hasRecord("data.pkl")) return false;
  const auto [data, size] = reader.getRecord("data.pkl");
  const std::string_view pickled(static_cast<const char *>(data.get()), size);
  for (const char *key : {"settings", "n_members", "state"})
    if (pickled.find(key) == std::string_view::npos) return false;
  return true;
}

}  // namespace mollifield
