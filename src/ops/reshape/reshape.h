/* reshape (and flatten, dropout): the same row-major elements under another shape. A plan turns it into a view; it has
 * no step and no design.
 *
 *   x [n][...] -> y [n][...], elements in order */
#ifndef TW_OPS_RESHAPE_H
#define TW_OPS_RESHAPE_H

typedef struct tw_reshape {
    int rank, dims[8]; /* output; dims[0] is the batch */
    int in_rank, in_dims[8];
    int infer; /* index of the dimension that follows from the rest, or -1 */
} tw_reshape;

#endif
