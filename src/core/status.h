/* Errors, checked size arithmetic, and small allocation helpers. */
#ifndef TW_CORE_STATUS_H
#define TW_CORE_STATUS_H

#include "tilewise.h"

#include <stdarg.h>

/* Writes the message (cut at the buffer's end; newlines become spaces) and returns the status. */
__attribute__((format(printf, 3, 4))) tw_status tw_fail(tw_error *error, tw_status status, const char *format, ...);
tw_status tw_no_memory(tw_error *error, size_t bytes, const char *what);

/* The same, with the value in the open: the compiler and its analyser see that a failure is not TW_OK. */
static inline tw_status tw_known(tw_status returned, tw_status status)
{
    (void)returned;
    return status;
}
#define tw_fail(error, status, ...) tw_known((tw_fail)(error, status, __VA_ARGS__), status)
#define tw_no_memory(error, bytes, what) tw_known((tw_no_memory)(error, bytes, what), TW_OUT_OF_MEMORY)

/* Puts "context: " before the message that is there. */
__attribute__((format(printf, 2, 3))) void tw_error_prefix(tw_error *error, const char *format, ...);

/* False on overflow. */
static inline bool tw_checked_mul(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline bool tw_checked_add(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

#define TW_ALIGNMENT 64

static inline size_t tw_align(size_t bytes)
{
    return (bytes + TW_ALIGNMENT - 1) / TW_ALIGNMENT * TW_ALIGNMENT;
}

/* 64-byte aligned; blocks of 2 MiB and more ask for huge pages. Null when there is no memory. free() releases it. */
void *tw_alloc(size_t bytes);
void *tw_alloc_zero(size_t bytes);
char *tw_strdup(const char *text);

#endif
