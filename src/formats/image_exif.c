/* EXIF is a TIFF file inside a marker: a byte order, the offset of a directory, and in it entries of 12 bytes. Only the
 * orientation is wanted, and its value lies inside its entry, so one bounded walk over one directory is enough. Any
 * offset or count may be hostile: each read is checked, and what cannot be read counts as not there. */
#include "formats/image.h"

#include <string.h>

typedef struct block {
    const uint8_t *data;
    size_t bytes;
    bool big_endian;
} block;

/* `width` bytes at `at` as an unsigned number; false where they are not all inside. */
static bool read_number(const block *from, size_t at, size_t width, uint32_t *number)
{
    if (at > from->bytes || width > from->bytes - at) return false;
    uint32_t value = 0;
    for (size_t i = 0; i < width; i++) {
        size_t shift = from->big_endian ? width - 1 - i : i;
        value |= (uint32_t)from->data[at + i] << (8 * shift);
    }
    *number = value;
    return true;
}

/* The value of an orientation entry: one SHORT, or one LONG as some writers have it. 0: something else. */
static uint32_t entry_value(const block *from, size_t entry)
{
    enum { TYPE_SHORT = 3, TYPE_LONG = 4 };
    uint32_t type, count, value;
    if (!read_number(from, entry + 2, 2, &type) || !read_number(from, entry + 4, 4, &count) || count != 1) return 0;
    if (type != TYPE_SHORT && type != TYPE_LONG) return 0;
    return read_number(from, entry + 8, type == TYPE_SHORT ? 2 : 4, &value) ? value : 0;
}

int tw_exif_orientation(const uint8_t *tiff, size_t bytes)
{
    enum { TAG_ORIENTATION = 0x0112, ENTRY_BYTES = 12 };
    if (bytes < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0)) return 1;
    block from = {.data = tiff, .bytes = bytes, .big_endian = tiff[0] == 'M'};
    uint32_t directory, entries, orientation = 1;
    if (!read_number(&from, 4, 4, &directory) || !read_number(&from, directory, 2, &entries)) return 1;
    for (uint32_t i = 0; i < entries; i++) {
        size_t entry = (size_t)directory + 2 + (size_t)i * ENTRY_BYTES;
        uint32_t tag, last;
        if (!read_number(&from, entry, 2, &tag) || !read_number(&from, entry + 8, 4, &last)) break;
        if (tag == TAG_ORIENTATION) orientation = entry_value(&from, entry);
    }
    return orientation >= 1 && orientation <= 8 ? (int)orientation : 1;
}
