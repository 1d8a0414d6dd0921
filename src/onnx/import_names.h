/* A hash table from names to integers. Names are not copied. */
#ifndef TW_ONNX_IMPORT_NAMES_H
#define TW_ONNX_IMPORT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tw_name {
    const char *text;
    int index;
} tw_name;

typedef struct tw_names {
    tw_name *slots; /* [capacity], a power of two; text null where empty */
    size_t capacity, count;
} tw_names;

/* The index, or -1. */
int tw_names_find(const tw_names *names, const char *text);
/* The name must not be there yet. False where memory ends. */
bool tw_names_add(tw_names *names, const char *text, int index);
void tw_names_free(tw_names *names);

#endif
