// Stands in for libnvrtc.so: "compiles" by writing down what it was asked, and says so in the file FAKE_LOG.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char source[4096], code[8192];
} Program;

static const char LOG[] = "mollifield.cu(1): error: expected a ;";

int nvrtcVersion(int *major, int *minor)
{
  *major = 12;
  *minor = atoi(getenv("FAKE_NVRTC_MINOR"));
  return 0;
}

int nvrtcGetNumSupportedArchs(int *number)
{
  *number = 3;
  return 0;
}

int nvrtcGetSupportedArchs(int *architectures)
{
  architectures[0] = 75;
  architectures[1] = 80;
  architectures[2] = 90;
  return 0;
}

int nvrtcCreateProgram(void **program, const char *source, const char *name, int n, const char *const *headers,
                       const char *const *names)
{
  (void)name, (void)n, (void)headers, (void)names;
  Program *made = calloc(1, sizeof(Program));
  strncpy(made->source, source, sizeof(made->source) - 1);
  *program = made;
  return 0;
}

int nvrtcCompileProgram(void *program, int n_options, const char *const *options)
{
  Program *p = program;
  FILE *log = fopen(getenv("FAKE_LOG"), "a");
  fprintf(log, "nvrtcCompileProgram");
  for (int k = 0; k < n_options; k++) fprintf(log, " %s", options[k]);
  fprintf(log, "\n");
  fclose(log);
  snprintf(p->code, sizeof(p->code), "compiled %s", p->source);
  return strstr(p->source, "wrong") ? 6 : 0;
}

int nvrtcDestroyProgram(void **program)
{
  free(*program);
  *program = NULL;
  return 0;
}

int nvrtcGetProgramLogSize(void *program, size_t *size)
{
  (void)program;
  *size = sizeof(LOG);
  return 0;
}

int nvrtcGetProgramLog(void *program, char *log)
{
  (void)program;
  memcpy(log, LOG, sizeof(LOG));
  return 0;
}

static int size_of(void *program, size_t *size)
{
  *size = strlen(((Program *)program)->code) + 1;
  return 0;
}

static int code_of(void *program, char *code)
{
  strcpy(code, ((Program *)program)->code);
  return 0;
}

int nvrtcGetCUBINSize(void *program, size_t *size) { return size_of(program, size); }
int nvrtcGetCUBIN(void *program, char *code) { return code_of(program, code); }
int nvrtcGetPTXSize(void *program, size_t *size) { return size_of(program, size); }
int nvrtcGetPTX(void *program, char *code) { return code_of(program, code); }

const char *nvrtcGetErrorString(int result) { return result == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }
