#include "shared_library.hpp"

#include <dlfcn.h>

namespace mollifield::operators::cuda {

SharedLibrary::SharedLibrary(const std::vector<std::string> &places, const std::string &missing)
{
  std::string said;
  for (const std::string &place : places) {
    handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle) {
      its_path = place;
      return;
    }
    said += std::string(said.empty() ? "" : "; ") + dlerror();
  }
  throw std::runtime_error(missing + (said.empty() ? "" : " (" + said + ")"));
}

void *SharedLibrary::address(const char *name) const
{
  void *const found = dlsym(handle, name);
  if (!found) throw std::runtime_error(its_path + " has no function " + name + ": it is too old, or another library");
  return found;
}

std::string folder_of(const void *address)
{
  Dl_info info;
  if (!dladdr(address, &info) || !info.dli_fname) return {};
  const std::string path = info.dli_fname;
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace mollifield::operators::cuda
