#include "implementation.hpp"

namespace mollifield::operators::cpu {

const Implementation &implementation()
{
  static const Implementation all = {convolution(),   channel_product(), linear(),         gate(),
                                     edge_geometry(), interpolation(),   products_update()};
  return all;
}

}  // namespace mollifield::operators::cpu
