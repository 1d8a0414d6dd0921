#include "formats/strided.h"

#include <string.h>

bool tw_strided_is_dense(const tw_strided *tensor)
{
    int64_t expected = 1;
    bool dense = true;
    for (int i = tensor->shape.rank - 1; i >= 0; i--) {
        int64_t size = tensor->shape.dims[i];
        if (size == 0) return true;
        if (size == 1) continue; /* its stride is never used */
        dense = dense && tensor->strides[i] == expected;
        if (dense) expected *= size;
    }
    return dense;
}

/* One run along the last dimension. */
static void copy_row(const uint8_t *from, size_t step, uint8_t *to, size_t count, size_t element)
{
    switch (element) {
    case 1:
        for (size_t i = 0; i < count; i++) to[i] = from[i * step];
        break;
    case 2:
        for (size_t i = 0; i < count; i++) memcpy(to + 2 * i, from + i * step, 2);
        break;
    case 4:
        for (size_t i = 0; i < count; i++) memcpy(to + 4 * i, from + i * step, 4);
        break;
    default:
        for (size_t i = 0; i < count; i++) memcpy(to + 8 * i, from + i * step, 8);
        break;
    }
}

void tw_strided_copy(const tw_strided *from, void *to)
{
    int rank = from->shape.rank, last = rank - 1;
    const int64_t *dims = from->shape.dims;
    for (int i = 0; i < rank; i++)
        if (dims[i] == 0) return;
    size_t row = rank ? (size_t)dims[last] : 1, step = rank ? (size_t)from->strides[last] * from->element : 0;
    uint8_t *target = to;
    size_t offset = 0; /* of the row, in bytes; unsigned, so that a stride that no step uses may be any number */
    int64_t at[TW_MAX_RANK] = {0}; /* position of the row in all dimensions but the last */
    for (;;) {
        copy_row((const uint8_t *)from->data + offset, step, target, row, from->element);
        target += row * from->element;
        int i = last - 1;
        for (; i >= 0; i--) { /* like an odometer, the last dimension fastest */
            offset += (size_t)from->strides[i] * from->element;
            if (++at[i] < dims[i]) break;
            offset -= (size_t)dims[i] * (size_t)from->strides[i] * from->element;
            at[i] = 0;
        }
        if (i < 0) return;
    }
}
