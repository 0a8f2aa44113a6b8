#define MOLLIFIELD_ISA_NAMESPACE portable
#define MOLLIFIELD_VECTOR_BYTES 16
#include "kernels.inc"
