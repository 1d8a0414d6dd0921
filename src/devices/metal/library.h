/* Kernels' libraries for metal-sim and metal-cuda: built from .metal files by tools/metal/build, kept in the user's
 * cache. */
#ifndef TW_DEVICES_METAL_LIBRARY_H
#define TW_DEVICES_METAL_LIBRARY_H

#include "msl_abi.h"
#include "tilewise.h"

#include <stdbool.h>

typedef struct tw_msl_library {
    char *source; /* "conv2d/metal_naive" */
    void *handle;
    const msl_library *table;
    msl_launch_function *launch; /* null, where there is an image */
    const msl_cuda_image *image;
    struct tw_msl_library *next;
} tw_msl_library;

/* What builds them and how; paths have no slash at the end. */
typedef struct tw_msl_tools {
    char tools[1024], sources[1100]; /* .../tools/metal, .../src */
    char cache[1024];
    const char *device; /* "metal-sim", for messages */
    const char *mode;   /* "plain", "asan", "tsan", "count" or "cuda" */
    int family;
    uint64_t key; /* of the tools, the compiler and the processor */
} tw_msl_tools;

/* TW_UNAVAILABLE and why, where the tools, Python, clang or a sanitizer's runtime are missing. */
tw_status tw_msl_find_tools(int family, tw_msl_tools *tools, tw_error *error);
/* For metal-cuda. Compilers are looked for when a kernel is not in the cache, whose names here say nothing of the
 * machine: it may be carried from where the compilers are to where the GPU is. */
tw_status tw_msl_find_cuda_tools(int family, tw_msl_tools *tools, tw_error *error);
/* Opens the library of a source, after building it where the cache has none. TW_FAILED and the compiler's words. */
tw_status tw_msl_open(const tw_msl_tools *tools, const char *source, tw_msl_library **library, tw_error *error);
void tw_msl_close(tw_msl_library *library);
/* "apple6" is 6; null the default. */
tw_status tw_metal_read_family(const char *device, const char *text, int *family, tw_error *error);
const msl_kernel *tw_msl_kernel(const tw_msl_library *library, const char *name);

#endif
