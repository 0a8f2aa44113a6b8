// The operators in plain ATen, for any device: what the kernels must equal, and what runs where there are none.
#pragma once

#include "operators/implementation.hpp"

namespace mollifield::operators::reference {

ConvolutionForms convolution();
ChannelProductForms channel_product();
LinearForms linear();
GateForms gate();
EdgeGeometryForms edge_geometry();
InterpolationForms interpolation();

const Implementation &implementation();

// Coefficients by output row, feature component and edge component: [K, n_in, n_edge] of the dtype and device of
// `like`.
at::Tensor dense_coupling(const CouplingTable &table, const at::Tensor &like);

}  // namespace mollifield::operators::reference
