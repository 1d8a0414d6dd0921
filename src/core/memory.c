/* One arena for all buffers of a run: largest first, each at the lowest offset that is free during its lifetime
 * (greedy by size; Pisarchyk and Lee 2020). */
#include "core/plan.h"
#include "core/status.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const tw_buffer *x = *(const tw_buffer *const *)a, *y = *(const tw_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->first - y->first;
}

static bool alive_together(const tw_buffer *a, const tw_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* placed[0 .. count) are in order of offset. */
static size_t lowest_gap(const tw_buffer *const *placed, size_t count, const tw_buffer *wanted)
{
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        const tw_buffer *other = placed[i];
        if (!alive_together(other, wanted)) continue;
        if (other->offset >= offset + tw_align(wanted->bytes)) break;
        size_t end = other->offset + tw_align(other->bytes);
        if (end > offset) offset = end;
    }
    return offset;
}

tw_status tw_plan_place(tw_plan *plan, tw_error *error)
{
    tw_buffer **order = malloc((2 * plan->n_buffers + 1) * sizeof *order), **placed = order + plan->n_buffers;
    if (!order) return tw_no_memory(error, plan->n_buffers * sizeof *order, "placing buffers");
    size_t count = 0, done = 0;
    for (size_t i = 0; i < plan->n_buffers; i++)
        if (plan->buffers[i].input < 0 || !tw_plan_reads_callers_inputs(plan)) order[count++] = &plan->buffers[i];
    qsort(order, count, sizeof(tw_buffer *), by_size);
    for (; done < count; done++) {
        tw_buffer *buffer = order[done];
        buffer->offset = lowest_gap((const tw_buffer *const *)placed, done, buffer);
        size_t end = buffer->offset + tw_align(buffer->bytes), at = done;
        for (; at > 0 && placed[at - 1]->offset > buffer->offset; at--) placed[at] = placed[at - 1];
        placed[at] = buffer;
        if (end > plan->arena_bytes) plan->arena_bytes = end;
    }
    for (size_t i = 0; i < plan->n_steps; i++) plan->values_bytes += plan->buffers[plan->steps[i].out].bytes;
    free(order);
    return TW_OK;
}
