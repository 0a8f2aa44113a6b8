// A library of the system's or of a wheel's that is looked for when it is needed, so that building needs none of it.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace mollifield::operators::cuda {

class SharedLibrary {
 public:
  // The first of `places`, names or paths, that can be loaded; stays loaded. Throws std::runtime_error, which begins
  // with `missing` and says what the loader said of each place.
  SharedLibrary(const std::vector<std::string> &places, const std::string &missing);

  // Sets a pointer to the function of this name; throws std::runtime_error where the library has none.
  template <typename F> void find(F *&function, const char *name) const
  {
    function = reinterpret_cast<F *>(address(name));
  }

  const std::string &path() const { return its_path; }

 private:
  void *handle = nullptr;
  std::string its_path;
  void *address(const char *name) const;
};

// Path of the folder that holds the library in which `address` lies; empty where the loader does not know it.
std::string folder_of(const void *address);

}  // namespace mollifield::operators::cuda
