/* What the operators on one activation share: its sizes as n, c, h, w, and descriptors such as "1x64x112x112:0:6". */
#ifndef TW_OPS_COMMON_DIMS_H
#define TW_OPS_COMMON_DIMS_H

#include "core/design.h"

typedef struct tw_dims {
    int n, c, h, w;
    int rank; /* 4, or 2: h = w = 1 */
} tw_dims;

/* Checks that a shape is [n][c] or [n][c][h][w] of sizes that fit (in any type and layout) and splits it. `op` begins
 * the message. */
tw_status tw_dims_from(const char *op, const tw_shape *shape, tw_dims *dims, tw_error *error);
tw_shape tw_dims_shape(const tw_dims *dims);
static inline double tw_dims_elements(const tw_dims *dims)
{
    return (double)dims->n * dims->c * dims->h * dims->w;
}

/* "1x64x112x112" and what follows from ':' or '+', copied to suffix without a closing n"name". */
enum { TW_DIMS_SUFFIX = 192 };
tw_status tw_dims_parse(const char *op, const char *text, tw_dims *dims, char suffix[TW_DIMS_SUFFIX], tw_error *error);
/* Returns the length written. */
int tw_dims_print(const tw_dims *dims, char *text, size_t size);

/* ":0:6" into values[], of which those at the end may be left out; nothing else may follow. */
tw_status tw_dims_numbers(const char *op, const char *suffix, float *values, int count, tw_error *error);

/* Are all operands float32 and all activations in this layout? */
bool tw_problem_in(const tw_problem *problem, tw_layout layout);

/* The elements of an operand in its layout, padded channels included; index n_in is the output. */
size_t tw_problem_elements(const tw_problem *problem, int index);
/* Bytes of all activations in their layouts. */
double tw_problem_traffic(const tw_problem *problem);

#endif
