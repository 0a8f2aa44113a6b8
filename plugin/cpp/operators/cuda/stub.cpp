// Linked where no kernels for GPUs are built: says that they are not here.

#include "implementation.hpp"

namespace mollifield::operators::cuda {

const Implementation *implementation() { return nullptr; }

}  // namespace mollifield::operators::cuda
