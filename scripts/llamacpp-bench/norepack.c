// For LD_PRELOAD: llama.cpp then finds no repacked forms of weights, which is its
// --no-repack. node-llama-cpp has no option for it. GGML is the path of its
// libggml-base.so.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

void *ggml_backend_reg_get_proc_address(void *reg, const char *name) {
  void *(*real)(void *, const char *) = dlsym(dlopen(getenv("GGML"), RTLD_LAZY), "ggml_backend_reg_get_proc_address");
  return strcmp(name, "ggml_backend_dev_get_extra_bufts") ? real(reg, name) : NULL;
}
