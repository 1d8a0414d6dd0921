/* Copies into row-major order. Dimensions that lie together are merged first, so that a convolution's weights stored
 * transposed are one plane of numbers and not many rows of one. Where another dimension than the last is the dense one
 * in the source, both are walked in strips: one cache line is read for LANES sequential streams that are written. */
#include "formats/strided.h"

#include <string.h>

enum { LANES = 16 };

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

/* One dimension: its size, and the elements from one step to the next here and there. */
typedef struct axis {
    size_t size, from, to;
} axis;

/* The dimensions that matter, outermost first, at least one; neighbours that lie together are one. */
static int merge_axes(const tw_shape *shape, const int64_t *strides, axis *axes)
{
    int rank = 0;
    for (int i = 0; i < shape->rank; i++) {
        axis next = {.size = (size_t)shape->dims[i], .from = (size_t)strides[i]};
        if (next.size == 1) continue;
        if (rank && axes[rank - 1].from == next.size * next.from) next.size *= axes[--rank].size;
        axes[rank++] = next;
    }
    if (rank == 0) axes[rank++] = (axis){.size = 1};
    size_t to = 1;
    for (int i = rank; i-- > 0;) {
        axes[i].to = to;
        to *= axes[i].size;
    }
    return rank;
}

/* to[a][b] = from[a][b] for one plane, by elements of a size that the compiler knows. */
static inline void copy_plane(const uint8_t *from, uint8_t *to, axis a, axis b, size_t element)
{
    for (size_t start = 0; start < a.size; start += LANES) {
        size_t lanes = a.size - start < LANES ? a.size - start : LANES;
        const uint8_t *source = from + start * a.from * element;
        uint8_t *target = to + start * a.to * element;
        for (size_t i = 0; i < b.size; i++)
            for (size_t lane = 0; lane < lanes; lane++)
                memcpy(target + (lane * a.to + i * b.to) * element, source + (lane * a.from + i * b.from) * element,
                       element);
    }
}

static void copy_sized(const uint8_t *from, uint8_t *to, axis a, axis b, size_t element)
{
    switch (element) {
    case 1: copy_plane(from, to, a, b, 1); break;
    case 2: copy_plane(from, to, a, b, 2); break;
    case 4: copy_plane(from, to, a, b, 4); break;
    default: copy_plane(from, to, a, b, 8); break;
    }
}

/* Takes the axis of the smallest step in the source out of the list; a single step where that is the last one. */
static axis take_dense(axis *axes, int *rank)
{
    int dense = *rank - 1;
    for (int i = 0; i < *rank; i++)
        if (axes[i].from < axes[dense].from) dense = i;
    if (dense == *rank - 1) return (axis){.size = 1};
    axis taken = axes[dense];
    memmove(axes + dense, axes + dense + 1, (size_t)(*rank - dense - 1) * sizeof *axes);
    --*rank;
    return taken;
}

void tw_strided_copy(const tw_strided *from, void *to)
{
    for (int i = 0; i < from->shape.rank; i++)
        if (from->shape.dims[i] == 0) return;
    axis axes[TW_MAX_RANK + 1];
    int rank = merge_axes(&from->shape, from->strides, axes);
    axis dense = take_dense(axes, &rank), last = axes[--rank];
    size_t at[TW_MAX_RANK] = {0}, source = 0, target = 0; /* where the plane is */
    for (;;) {
        copy_sized((const uint8_t *)from->data + source * from->element, (uint8_t *)to + target * from->element, dense,
                   last, from->element);
        int i = rank - 1;
        for (; i >= 0; i--) { /* like an odometer, the last dimension fastest */
            source += axes[i].from;
            target += axes[i].to;
            if (++at[i] < axes[i].size) break;
            source -= axes[i].size * axes[i].from;
            target -= axes[i].size * axes[i].to;
            at[i] = 0;
        }
        if (i < 0) return;
    }
}
