/* A hash table from names to integers. Names are not copied. They may come from files, so every table hashes by a key of
 * its own: nobody can choose names that all fall into one place. */
#ifndef TW_CORE_NAMES_H
#define TW_CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tw_name {
    const char *text;
    uint32_t hash;
    int index;
} tw_name;

typedef struct tw_names {
    tw_name *slots; /* [capacity], a power of two; text null where empty */
    size_t capacity, count;
    uint64_t key[2];
} tw_names;

/* The index, or -1. */
int tw_names_find(const tw_names *names, const char *text);
/* The name must not be there yet. False where memory ends. */
bool tw_names_add(tw_names *names, const char *text, int index);
void tw_names_free(tw_names *names);

#endif
