#include "implementation.hpp"

#include "implementation_parts.hpp"
#include "operators/reference/implementation.hpp"

namespace mollifield::operators::cuda {

const Implementation &from_source()
{
  static const Implementation all = {convolution(), channel_product(), linear(), gate(), edge_geometry()};
  return all;
}

const Implementation *implementation() { return nullptr; }

}  // namespace mollifield::operators::cuda
