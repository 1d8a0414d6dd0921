#include "onnx/import_names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits (Fowler, Noll and Vo). */
static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot of the name, or the empty one where it belongs. */
static size_t slot_of(const tw_name *slots, size_t capacity, const char *text)
{
    size_t at = hash(text) & (capacity - 1);
    while (slots[at].text && strcmp(slots[at].text, text) != 0) at = (at + 1) & (capacity - 1);
    return at;
}

int tw_names_find(const tw_names *names, const char *text)
{
    if (!names->capacity) return -1;
    const tw_name *slot = &names->slots[slot_of(names->slots, names->capacity, text)];
    return slot->text ? slot->index : -1;
}

static bool grow(tw_names *names)
{
    size_t capacity = names->capacity ? 2 * names->capacity : 64;
    tw_name *slots = calloc(capacity, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i].text) slots[slot_of(slots, capacity, names->slots[i].text)] = names->slots[i];
    free(names->slots);
    names->slots = slots;
    names->capacity = capacity;
    return true;
}

bool tw_names_add(tw_names *names, const char *text, int index)
{
    if (2 * (names->count + 1) > names->capacity && !grow(names)) return false;
    names->slots[slot_of(names->slots, names->capacity, text)] = (tw_name){text, index};
    names->count++;
    return true;
}

void tw_names_free(tw_names *names)
{
    free(names->slots);
    *names = (tw_names){0};
}
