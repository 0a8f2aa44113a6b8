#include "binary_cache.hpp"

#include <c10/util/hash.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace mollifield::operators::cuda {

namespace fs = std::filesystem;

std::string cache_folder()
{
  const char *const cache = std::getenv("XDG_CACHE_HOME"), *const home = std::getenv("HOME");
  if (cache && *cache) return fs::path(cache) / "mollifield";
  if (home && *home) return fs::path(home) / ".cache" / "mollifield";
  return {};
}

std::string digest(const std::string &text) { return c10::sha1(text).str(); }

// A file begins with the digest of what follows.
std::optional<std::string> read_cached(const std::string &name)
{
  const std::string folder = cache_folder();
  if (folder.empty()) return {};
  std::ifstream file(fs::path(folder) / name, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t length = digest({}).size();
  if (all.size() <= length) return {};
  std::string content = all.substr(length);
  if (digest(content) != all.substr(0, length)) return {};
  return content;
}

void keep_cached(const std::string &name, const std::string &content)
{
  const std::string folder = cache_folder();
  if (folder.empty()) return;
  std::error_code problem;
  fs::create_directories(folder, problem);
  const fs::path path = fs::path(folder) / name;
  const fs::path unfinished = path.string() + "." + std::to_string(std::random_device()());
  std::ofstream file(unfinished, std::ios::binary);
  file << digest(content) << content;
  file.close();
  if (file)
    fs::rename(unfinished, path, problem);
  else
    problem = std::make_error_code(std::errc::io_error);
  if (problem) fs::remove(unfinished, problem);
}

}  // namespace mollifield::operators::cuda
