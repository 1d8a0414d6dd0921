/* A file in the making: bytes that grow. */
#ifndef TESTS_BYTES_H
#define TESTS_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *data;
    size_t count, capacity;
} bytes;

static inline void append(bytes *to, const void *data, size_t count)
{
    if (to->count + count > to->capacity) {
        to->capacity = 2 * (to->count + count);
        to->data = realloc(to->data, to->capacity);
        if (!to->data) abort();
    }
    if (count) memcpy(to->data + to->count, data, count);
    to->count += count;
}

#endif
