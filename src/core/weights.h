/* Named tensors over one block of memory, usually a mapped file. The formats fill one of these. */
#ifndef TW_CORE_WEIGHTS_H
#define TW_CORE_WEIGHTS_H

#include "tilewise.h"

/* Views may be unaligned to their element: a reader of floats copies with memcpy or checks first. */
typedef struct tw_weights_entry {
    char *name;       /* owned */
    tw_tensor tensor; /* a view of the memory, or of `own` */
    void *own;        /* a row-major copy of what was stored otherwise; null mostly */
} tw_weights_entry;

/* Memory that is released with the weights. */
typedef struct tw_weights_memory {
    void (*release)(void *context);
    void *context;
} tw_weights_memory;

/* Takes over entries (an array from malloc), names and memory, whether it succeeds or not. Names must differ:
 * TW_INVALID says which is there twice. */
tw_status tw_weights_create(tw_weights_entry *entries, size_t count, tw_weights_memory memory, tw_weights **weights,
                            tw_error *error);
void tw_weights_retain(tw_weights *weights);

#endif
