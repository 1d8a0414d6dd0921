/* Kernels' libraries for metal-sim: built from .metal files by tools/metal/build, kept in the user's cache. */
#ifndef TW_DEVICES_METAL_LIBRARY_H
#define TW_DEVICES_METAL_LIBRARY_H

#include "msl_abi.h"
#include "tilewise.h"

#include <stdbool.h>

typedef struct tw_msl_library {
    char *source; /* "conv2d/metal_naive" */
    void *handle;
    const msl_library *table;
    msl_launch_function *launch;
    struct tw_msl_library *next;
} tw_msl_library;

/* What builds them and how; paths have no slash at the end. */
typedef struct tw_msl_tools {
    char tools[1024], sources[1100]; /* .../tools/metal, .../src */
    char cache[1024];
    const char *mode; /* "plain", "asan" or "tsan" */
    int family;
    uint64_t key; /* of the tools, the compiler and the processor */
} tw_msl_tools;

/* TW_UNAVAILABLE and why, where the tools, Python, clang or a sanitizer's runtime are missing. */
tw_status tw_msl_find_tools(int family, tw_msl_tools *tools, tw_error *error);
/* Opens the library of a source, after building it where the cache has none. TW_FAILED and the compiler's words. */
tw_status tw_msl_open(const tw_msl_tools *tools, const char *source, tw_msl_library **library, tw_error *error);
void tw_msl_close(tw_msl_library *library);
const msl_kernel *tw_msl_kernel(const tw_msl_library *library, const char *name);

#endif
