/* A pickle machine that knows only what a PyTorch state_dict needs: dictionaries, tuples, lists, numbers, strings, and
 * the few names from which tensors are rebuilt. Everything else is refused by name and place; nothing is ever called.
 * Opcodes: Python's pickletools, protocols 2 to 5. The result is a table of nodes that refer to each other by index, so
 * cycles and shared parts cost nothing and readers decide how deep they look. */
#ifndef TW_FORMATS_PICKLE_H
#define TW_FORMATS_PICKLE_H

#include "core/status.h"

typedef enum tw_pickle_kind {
    TW_PICKLE_NONE,
    TW_PICKLE_BOOL,
    TW_PICKLE_INT,
    TW_PICKLE_LONG, /* an integer of more than 64 bits: its bytes, little-endian */
    TW_PICKLE_FLOAT,
    TW_PICKLE_STRING,
    TW_PICKLE_TUPLE,
    TW_PICKLE_LIST,
    TW_PICKLE_DICT, /* items: key, value, key, value */
    TW_PICKLE_GLOBAL,
    TW_PICKLE_STORAGE,
    TW_PICKLE_TENSOR
} tw_pickle_kind;

typedef struct tw_pickle_tensor {
    int storage;    /* node */
    int64_t offset; /* elements */
    tw_shape shape;
    int64_t strides[TW_MAX_RANK];
} tw_pickle_tensor;

typedef struct tw_pickle_node {
    tw_pickle_kind kind;
    int global;      /* which one: index of the machine's list */
    tw_dtype dtype;  /* of a storage, or of a storage type's global */
    int64_t integer; /* also a storage's number of elements */
    double real;
    const char *text; /* strings, longs, a storage's key: bytes of the file, not ended */
    size_t length;
    int *items; /* containers */
    int n_items, capacity;
    tw_pickle_tensor *tensor;
} tw_pickle_node;

typedef struct tw_pickle {
    tw_pickle_node *nodes;
    int n_nodes, capacity;
    int root;
    size_t used; /* bytes, up to and with the final STOP */
} tw_pickle;

/* Reads one pickle from bytes [at, end) of the file. */
typedef struct tw_pickle_source {
    const char *path; /* for messages */
    const uint8_t *data;
    size_t at, end;
} tw_pickle_source;

tw_status tw_pickle_read(const tw_pickle_source *source, tw_pickle *pickle, tw_error *error);
void tw_pickle_free(tw_pickle *pickle);

/* The value of a string key, or null. */
const tw_pickle_node *tw_pickle_get(const tw_pickle *pickle, const tw_pickle_node *dict, const char *key);
bool tw_pickle_is_text(const tw_pickle_node *node, const char *text);

#endif
