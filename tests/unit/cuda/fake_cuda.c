// Stands in for libcuda.so.1: says in the file FAKE_LOG which calls come, and lets the one named in FAKE_FAIL fail.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answer(const char *call, const char *format, ...)
{
  FILE *log = fopen(getenv("FAKE_LOG"), "a");
  va_list arguments;
  va_start(arguments, format);
  fprintf(log, "%s ", call);
  vfprintf(log, format, arguments);
  fprintf(log, "\n");
  va_end(arguments);
  fclose(log);
  const char *fails = getenv("FAKE_FAIL");
  return fails && strcmp(fails, call) == 0 ? 700 : 0;
}

int cuInit(unsigned flags) { return answer("cuInit", "%u", flags); }

int cuDriverGetVersion(int *version)
{
  *version = 12080;
  return 0;
}

int cuDeviceGet(int *device, int ordinal)
{
  *device = 40 + ordinal;
  return answer("cuDeviceGet", "%d", ordinal);
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
  const int capability = atoi(getenv("FAKE_CAPABILITY"));
  *value = attribute == 75 ? capability / 10 : capability % 10;
  return answer("cuDeviceGetAttribute", "%d %d", attribute, device);
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
  *context = (void *)(size_t)(1000 + device);
  return answer("cuDevicePrimaryCtxRetain", "%d", device);
}

int cuCtxPushCurrent_v2(void *context) { return answer("cuCtxPushCurrent", "%zu", (size_t)context); }

int cuCtxPopCurrent_v2(void **context)
{
  *context = NULL;
  return answer("cuCtxPopCurrent", "");
}

int cuModuleLoadData(void **module, const void *image)
{
  *module = (void *)5;
  const int is_elf = memcmp(image, "\177ELF", 4) == 0;
  return answer("cuModuleLoadData", "%s", is_elf ? "ELF" : (const char *)image);
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
  *function = (void *)6;
  return answer("cuModuleGetFunction", "%zu %s", (size_t)module, name);
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra)
{
  return answer("cuLaunchKernel", "%zu grid %u %u %u threads %u %u %u shared %u stream %zu argument %d extra %zu",
                (size_t)function, gx, gy, gz, bx, by, bz, shared, (size_t)stream, *(int *)arguments[0], (size_t)extra);
}

int cuGetErrorName(int result, const char **name)
{
  *name = result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : NULL;
  return 0;
}

int cuGetErrorString(int result, const char **text)
{
  *text = result == 700 ? "an illegal memory access was encountered" : NULL;
  return 0;
}
