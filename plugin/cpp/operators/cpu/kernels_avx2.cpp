#define MOLLIFIELD_ISA_NAMESPACE avx2
#define MOLLIFIELD_VECTOR_BYTES 32
#include "kernels.inc"
