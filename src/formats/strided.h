/* Tensors whose elements lie anywhere in a block of memory, and their copies in row-major order. */
#ifndef TW_FORMATS_STRIDED_H
#define TW_FORMATS_STRIDED_H

#include "core/status.h"

typedef struct tw_strided {
    const void *data; /* may be unaligned */
    size_t element;   /* bytes */
    tw_shape shape;
    int64_t strides[TW_MAX_RANK]; /* elements, not negative */
} tw_strided;

/* True where the elements lie in row-major order without gaps; so do those of an empty tensor. */
bool tw_strided_is_dense(const tw_strided *tensor);

/* `to` has room for all elements; the caller has checked that they are all there. */
void tw_strided_copy(const tw_strided *from, void *to);

#endif
