#include "implementation.hpp"

#include "device_compiler.hpp"
#include "implementation_parts.hpp"
#include "operators/reference/implementation.hpp"

namespace mollifield::operators::cuda {

const Implementation &from_source()
{
  static const Implementation all = {convolution(),   channel_product(),          linear(), gate(),
                                     edge_geometry(), reference::interpolation(), {}};
  return all;
}

const Implementation *implementation() { return device_compiler() ? &from_source() : nullptr; }

}  // namespace mollifield::operators::cuda
