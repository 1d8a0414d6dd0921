/* One part of a concatenation, as the kernels in Metal see it: x [n][size] goes to y [n][total], from `offset` on.
 * Included by C and Metal. */
#ifndef TW_OPS_CONCAT_METAL_PART_H
#define TW_OPS_CONCAT_METAL_PART_H

typedef struct tw_concat_part {
    int n, size, total, offset; /* in elements */
} tw_concat_part;

#endif
