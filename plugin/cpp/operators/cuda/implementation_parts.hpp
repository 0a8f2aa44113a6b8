// The operators of the table, a file each: tensors to pointers, and the source of their kernels.
#pragma once

#include "operators/implementation.hpp"

namespace mollifield::operators::cuda {

ConvolutionForms convolution();
ChannelProductForms channel_product();
LinearForms linear();
GateForms gate();
EdgeGeometryForms edge_geometry();

}  // namespace mollifield::operators::cuda
