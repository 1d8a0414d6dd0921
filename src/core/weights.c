#include "core/weights.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

struct tw_weights {
    tw_weights_entry *entries; /* in the file's order */
    size_t count;
    const tw_weights_entry **sorted; /* by name */
    tw_weights_memory memory;
    int references; /* atomic */
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const tw_weights_entry *const *)a)->name, (*(const tw_weights_entry *const *)b)->name);
}

static void destroy(tw_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        free(weights->entries[i].name);
        free(weights->entries[i].own);
    }
    free(weights->entries);
    free(weights->sorted);
    if (weights->memory.release) weights->memory.release(weights->memory.context);
    free(weights);
}

tw_status tw_weights_create(tw_weights_entry *entries, size_t count, tw_weights_memory memory, tw_weights **out,
                            tw_error *error)
{
    tw_weights scratch = {entries, count, NULL, memory, 1}, *weights = malloc(sizeof *weights);
    *out = NULL;
    if (weights) {
        *weights = scratch;
        weights->sorted = malloc((count + 1) * sizeof *weights->sorted);
    }
    if (!weights || !weights->sorted) {
        if (!weights && memory.release) memory.release(memory.context);
        if (weights) destroy(weights);
        return tw_no_memory(error, count * sizeof *entries, "weights");
    }
    for (size_t i = 0; i < count; i++) weights->sorted[i] = &entries[i];
    qsort(weights->sorted, count, sizeof *weights->sorted, by_name);
    for (size_t i = 1; i < count; i++)
        if (strcmp(weights->sorted[i]->name, weights->sorted[i - 1]->name) == 0) {
            tw_fail(error, TW_INVALID, "two tensors are named \"%s\"", weights->sorted[i]->name);
            destroy(weights);
            return TW_INVALID;
        }
    *out = weights;
    return TW_OK;
}

void tw_weights_retain(tw_weights *weights)
{
    __atomic_add_fetch(&weights->references, 1, __ATOMIC_RELAXED);
}

void tw_weights_release(tw_weights *weights)
{
    if (weights && __atomic_sub_fetch(&weights->references, 1, __ATOMIC_ACQ_REL) == 0) destroy(weights);
}

size_t tw_weights_count(const tw_weights *weights)
{
    return weights->count;
}

const char *tw_weights_name(const tw_weights *weights, size_t index)
{
    return index < weights->count ? weights->entries[index].name : NULL;
}

const tw_tensor *tw_weights_at(const tw_weights *weights, size_t index)
{
    return index < weights->count ? &weights->entries[index].tensor : NULL;
}

const tw_tensor *tw_weights_find(const tw_weights *weights, const char *name)
{
    size_t low = 0, high = weights->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, weights->sorted[middle]->name);
        if (order == 0) return &weights->sorted[middle]->tensor;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}
