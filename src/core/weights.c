/* A table of named tensors in the order of the file, and an index sorted by name for tw_weights_find(). */
#include "core/weights.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct tw_weights {
    atomic_size_t references;
    size_t count;
    tw_named_tensor *tensors;       /* [count], in the file's order */
    const tw_named_tensor **sorted; /* [count], by name */
    void *owner;
    void (*release)(void *owner);
};

static int compare_names(const void *a, const void *b)
{
    const tw_named_tensor *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static void free_tables(tw_weights *weights)
{
    free(weights->tensors);
    free(weights->sorted);
    free(weights);
}

static tw_status sort_names(tw_weights *weights, tw_error *error)
{
    for (size_t i = 0; i < weights->count; i++) weights->sorted[i] = &weights->tensors[i];
    qsort(weights->sorted, weights->count, sizeof *weights->sorted, compare_names);
    for (size_t i = 1; i < weights->count; i++)
        if (strcmp(weights->sorted[i - 1]->name, weights->sorted[i]->name) == 0)
            return tw_fail(error, TW_INVALID, "two tensors are called %.200s", weights->sorted[i]->name);
    return TW_OK;
}

tw_status tw_weights_create(const tw_weights_source *source, tw_weights **weights, tw_error *error)
{
    *weights = NULL;
    size_t bytes, slots = source->count ? source->count : 1;
    if (!tw_checked_mul(slots, sizeof *source->tensors, &bytes)) return tw_no_memory(error, SIZE_MAX, "weights");
    tw_weights *made = calloc(1, sizeof *made);
    if (!made) return tw_no_memory(error, sizeof *made, "weights");
    made->tensors = malloc(bytes);
    made->sorted = calloc(slots, sizeof *made->sorted);
    if (!made->tensors || !made->sorted) {
        free_tables(made);
        return tw_no_memory(error, bytes, "a table of weights");
    }
    if (source->count) memcpy(made->tensors, source->tensors, bytes);
    made->count = source->count;
    tw_status status = sort_names(made, error);
    if (status != TW_OK) {
        free_tables(made);
        return status;
    }
    atomic_init(&made->references, 1);
    made->owner = source->owner;
    made->release = source->release;
    *weights = made;
    return TW_OK;
}

tw_weights *tw_weights_retain(tw_weights *weights)
{
    atomic_fetch_add_explicit(&weights->references, 1, memory_order_relaxed);
    return weights;
}

void tw_weights_release(tw_weights *weights)
{
    if (!weights || atomic_fetch_sub_explicit(&weights->references, 1, memory_order_acq_rel) != 1) return;
    if (weights->release) weights->release(weights->owner);
    free_tables(weights);
}

size_t tw_weights_count(const tw_weights *weights)
{
    return weights->count;
}

const char *tw_weights_name(const tw_weights *weights, size_t index)
{
    return index < weights->count ? weights->tensors[index].name : NULL;
}

const tw_tensor *tw_weights_at(const tw_weights *weights, size_t index)
{
    return index < weights->count ? &weights->tensors[index].view : NULL;
}

const tw_tensor *tw_weights_find(const tw_weights *weights, const char *name)
{
    const tw_named_tensor key = {.name = name}, *key_address = &key;
    const tw_named_tensor *const *found =
        bsearch(&key_address, weights->sorted, weights->count, sizeof *weights->sorted, compare_names);
    return found ? &(*found)->view : NULL;
}
