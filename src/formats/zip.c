#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22, END64 = 56, LOCATOR64 = 20, MAX_COMMENT = 65535, MAX_ENTRIES = 1 << 20 };

/* Little-endian, `size` bytes. */
static uint64_t number(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static bool is_signature(const uint8_t *at, const char *signature)
{
    return memcmp(at, signature, 4) == 0;
}

typedef struct directory {
    uint64_t offset, bytes, count;
} directory;

static tw_status read_end64(const char *path, const uint8_t *data, size_t end, directory *dir, tw_error *error)
{
    const uint8_t *locator = end >= LOCATOR64 ? data + end - LOCATOR64 : NULL;
    if (!locator || !is_signature(locator, "PK\6\7")) return TW_OK;
    uint64_t at = number(locator + 8, 8);
    if (at > end || end - at < END64 || !is_signature(data + at, "PK\6\6"))
        return tw_fail(error, TW_INVALID, "%s: zip: the zip64 directory's end is not at byte %llu", path,
                       (unsigned long long)at);
    *dir = (directory){number(data + at + 48, 8), number(data + at + 40, 8), number(data + at + 32, 8)};
    return TW_OK;
}

static tw_status find_directory(const char *path, const uint8_t *data, size_t bytes, directory *dir, tw_error *error)
{
    size_t lowest = bytes > END + MAX_COMMENT ? bytes - END - MAX_COMMENT : 0;
    for (size_t at = bytes < END ? 0 : bytes - END + 1; at-- > lowest;) {
        if (!is_signature(data + at, "PK\5\6")) continue;
        *dir = (directory){number(data + at + 16, 4), number(data + at + 12, 4), number(data + at + 10, 2)};
        tw_status status = read_end64(path, data, at, dir, error);
        if (status != TW_OK) return status;
        if (dir->offset > at || dir->bytes > at - dir->offset || dir->count > MAX_ENTRIES ||
            dir->count > dir->bytes / CENTRAL)
            return tw_fail(error, TW_INVALID, "%s: zip: a directory of %llu entries and %llu bytes does not fit", path,
                           (unsigned long long)dir->count, (unsigned long long)dir->bytes);
        return TW_OK;
    }
    return tw_fail(error, TW_INVALID, "%s: zip: no end of the directory; the file may be truncated", path);
}

/* Sizes and offset of a central entry, from its zip64 field where the 32-bit ones are full. */
static bool widen_sizes(const uint8_t *extra, size_t length, uint64_t *values[3])
{
    size_t at = 0;
    while (length - at >= 4) {
        uint64_t id = number(extra + at, 2), size = number(extra + at + 2, 2);
        at += 4;
        if (size > length - at) return false;
        if (id == 1) {
            size_t used = 0;
            for (int i = 0; i < 3; i++) {
                if (*values[i] != 0xffffffff) continue;
                if (size - used < 8) return false;
                *values[i] = number(extra + at + used, 8);
                used += 8;
            }
            return true;
        }
        at += size;
    }
    return true;
}

static tw_status bad_entry(const char *path, const tw_zip_entry *entry, const char *what, tw_error *error)
{
    int length = entry->name_length < 200 ? (int)entry->name_length : 200;
    return tw_fail(error, TW_INVALID, "%s: zip entry \"%.*s\": %s", path, length, entry->name, what);
}

/* The directory as it is walked. */
typedef struct walk {
    const char *path;
    const uint8_t *data;
    size_t bytes, at, end;
} walk;

static tw_status next_entry(walk *w, tw_zip_entry *entry, tw_error *error)
{
    const uint8_t *central = w->data + w->at;
    if (w->end - w->at < CENTRAL || !is_signature(central, "PK\1\2"))
        return tw_fail(error, TW_INVALID, "%s: zip: no directory entry at byte %zu", w->path, w->at);
    size_t name = number(central + 28, 2), extra = number(central + 30, 2), comment = number(central + 32, 2);
    if (name + extra + comment > w->end - w->at - CENTRAL)
        return tw_fail(error, TW_INVALID, "%s: zip: the directory entry at byte %zu does not fit", w->path, w->at);
    *entry = (tw_zip_entry){.name = (const char *)central + CENTRAL, .name_length = name};
    uint64_t size = number(central + 24, 4), packed = number(central + 20, 4), offset = number(central + 42, 4);
    if (!widen_sizes(central + CENTRAL + name, extra, (uint64_t *[]){&size, &packed, &offset}))
        return bad_entry(w->path, entry, "its zip64 field is damaged", error);
    if (number(central + 8, 2) & 1) return bad_entry(w->path, entry, "encrypted, expected plain", error);
    if (number(central + 10, 2) != 0 || size != packed)
        return bad_entry(w->path, entry, "compressed, expected stored", error);
    if (offset > w->bytes || w->bytes - offset < LOCAL || !is_signature(w->data + offset, "PK\3\4"))
        return bad_entry(w->path, entry, "its local header is not where the directory says", error);
    const uint8_t *local = w->data + offset;
    uint64_t start = offset + LOCAL + number(local + 26, 2) + number(local + 28, 2);
    if (start > w->bytes || size > w->bytes - start)
        return bad_entry(w->path, entry, "its data goes beyond the file", error);
    entry->data = w->data + start;
    entry->bytes = (size_t)size;
    w->at += CENTRAL + name + extra + comment;
    return TW_OK;
}

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int by_name(const void *a, const void *b)
{
    const tw_zip_entry *x = a, *y = b;
    return compare_names(x->name, x->name_length, y->name, y->name_length);
}

tw_status tw_zip_open(const char *path, const uint8_t *data, size_t bytes, tw_zip *zip, tw_error *error)
{
    directory dir;
    *zip = (tw_zip){0};
    tw_status status = find_directory(path, data, bytes, &dir, error);
    if (status != TW_OK) return status;
    zip->entries = calloc((size_t)dir.count + 1, sizeof *zip->entries);
    if (!zip->entries) return tw_no_memory(error, (size_t)dir.count * sizeof *zip->entries, "a zip directory");
    walk w = {path, data, bytes, (size_t)dir.offset, (size_t)(dir.offset + dir.bytes)};
    for (uint64_t i = 0; status == TW_OK && i < dir.count; i++) status = next_entry(&w, &zip->entries[i], error);
    zip->count = (size_t)dir.count;
    if (status == TW_OK) qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
    for (size_t i = 1; status == TW_OK && i < zip->count; i++)
        if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            status = bad_entry(path, &zip->entries[i], "there twice", error);
    if (status != TW_OK) tw_zip_free(zip);
    return status;
}

void tw_zip_free(tw_zip *zip)
{
    free(zip->entries);
    *zip = (tw_zip){0};
}

const tw_zip_entry *tw_zip_find(const tw_zip *zip, const char *name, size_t length)
{
    size_t low = 0, high = zip->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const tw_zip_entry *entry = &zip->entries[middle];
        int order = compare_names(name, length, entry->name, entry->name_length);
        if (order == 0) return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
