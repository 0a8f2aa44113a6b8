// The operators on the CPU: tensors to pointers, loops shared out to threads, kernels (kernels.hpp).
#pragma once

#include "operators/implementation.hpp"

namespace mollifield::operators::cpu {

ConvolutionForms convolution();
ChannelProductForms channel_product();
LinearForms linear();
GateForms gate();
EdgeGeometryForms edge_geometry();
InterpolationForms interpolation();
ProductsUpdateForms products_update();

const Implementation &implementation();

}  // namespace mollifield::operators::cpu
