// Plain values in the bytes of a restart file, one after the other.
#ifndef LMP_MOLLIFIELD_RESTART_BYTES_H
#define LMP_MOLLIFIELD_RESTART_BYTES_H

#include <cstring>
#include <string>

namespace LAMMPS_NS {

template <typename T> void put(std::string &bytes, const T &value)
{
  bytes.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

template <typename T> T take(const char *&from)
{
  T value;
  memcpy(&value, from, sizeof(T));
  from += sizeof(T);
  return value;
}

}  // namespace LAMMPS_NS

#endif
