/* Builds kernels of Metal designs ahead, into the cache that devices look into: a helper of metal_cuda_test.py.
 *
 *   metal_library cuda|sim FAMILY SOURCE...     metal_library cuda 7 conv2d/metal_naive
 *
 * A line a source: its name and how many kernels it has, or why it does not build. */
#include "devices/metal/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    tw_msl_tools tools;
    tw_error error;
    if (argc < 4 || (strcmp(argv[1], "cuda") != 0 && strcmp(argv[1], "sim") != 0)) {
        fprintf(stderr, "usage: metal_library cuda|sim FAMILY SOURCE...\n");
        return 2;
    }
    const int family = atoi(argv[2]);
    tw_status status = strcmp(argv[1], "cuda") == 0 ? tw_msl_find_cuda_tools(family, &tools, &error)
                                                    : tw_msl_find_tools(family, &tools, &error);
    if (status != TW_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 3;
    }
    int failed = 0;
    for (int i = 3; i < argc; i++) {
        tw_msl_library *library;
        if (tw_msl_open(&tools, argv[i], &library, &error) != TW_OK) {
            printf("%s: %s\n", argv[i], error.message);
            failed = 1;
            continue;
        }
        printf("%s: %u kernels\n", argv[i], library->table->kernel_count);
        tw_msl_close(library);
    }
    return failed;
}
