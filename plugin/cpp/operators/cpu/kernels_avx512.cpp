#define MOLLIFIELD_ISA_NAMESPACE avx512
#define MOLLIFIELD_VECTOR_BYTES 64
#include "kernels.inc"
