#include "core/names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- SipHash-1-3 (Aumasson and Bernstein 2012), whose results nobody can predict who has not the key ---- */

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint32_t hash(const uint64_t key[2], const char *text)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    size_t length = strlen(text);
    uint64_t word = 0;
    for (size_t i = 0; i + 8 <= length; i += 8) {
        memcpy(&word, text + i, 8);
        v[3] ^= word;
        mix(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, text + length / 8 * 8, length % 8);
    word ^= (uint64_t)length << 56;
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) mix(v);
    uint64_t all = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(all ^ all >> 32);
}

/* ---- the table, half of which stays empty ---- */

/* The slot of the name, or the empty one where it belongs. */
static size_t slot_of(const tw_name *slots, size_t capacity, const tw_name *name)
{
    size_t at = name->hash & (capacity - 1);
    while (slots[at].text && (slots[at].hash != name->hash || strcmp(slots[at].text, name->text) != 0))
        at = (at + 1) & (capacity - 1);
    return at;
}

int tw_names_find(const tw_names *names, const char *text)
{
    if (!names->capacity) return -1;
    const tw_name *slot =
        &names->slots[slot_of(names->slots, names->capacity, &(tw_name){text, hash(names->key, text), 0})];
    return slot->text ? slot->index : -1;
}

static bool grow(tw_names *names)
{
    size_t capacity = names->capacity ? 2 * names->capacity : 64;
    tw_name *slots = calloc(capacity, sizeof *slots);
    if (!slots) return false;
    /* Without randomness, where the table lies has to do. */
    if (!names->capacity && getentropy(names->key, sizeof names->key) != 0) names->key[0] = (uintptr_t)slots;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i].text) slots[slot_of(slots, capacity, &names->slots[i])] = names->slots[i];
    free(names->slots);
    names->slots = slots;
    names->capacity = capacity;
    return true;
}

bool tw_names_add(tw_names *names, const char *text, int index)
{
    if (2 * (names->count + 1) > names->capacity && !grow(names)) return false;
    const tw_name name = {text, hash(names->key, text), index};
    names->slots[slot_of(names->slots, names->capacity, &name)] = name;
    names->count++;
    return true;
}

void tw_names_free(tw_names *names)
{
    free(names->slots);
    *names = (tw_names){0};
}
