/* Named tensors that come from one owner: a mapped file, or memory. The core knows nothing of file formats; a format
 * fills a table through tw_weights_create(), and whoever needs the tensors longer than the caller retains them. */
#ifndef TW_CORE_WEIGHTS_H
#define TW_CORE_WEIGHTS_H

#include "core/status.h"

typedef struct tw_named_tensor {
    const char *name;
    tw_tensor view; /* its data may be unaligned to the element */
} tw_named_tensor;

typedef struct tw_weights_source {
    const tw_named_tensor *tensors; /* the table is copied; names and data belong to the owner */
    size_t count;
    void *owner;
    void (*release)(void *owner); /* called with the last reference; null: nothing to release */
} tw_weights_source;

/* Refuses two tensors of one name. The owner is taken over on success only. */
tw_status tw_weights_create(const tw_weights_source *source, tw_weights **weights, tw_error *error);

/* One more reference, for tw_weights_release() to give back. */
tw_weights *tw_weights_retain(tw_weights *weights);

#endif
