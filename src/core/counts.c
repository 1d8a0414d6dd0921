#include "core/counts.h"

#include <stdlib.h>

tw_counted_launch *tw_counts_add(tw_counts *counts)
{
    if (counts->count == counts->capacity) {
        const size_t capacity = counts->capacity ? 2 * counts->capacity : 64;
        tw_counted_launch *larger = realloc(counts->launches, capacity * sizeof *larger);
        if (!larger) return NULL;
        counts->launches = larger;
        counts->capacity = capacity;
    }
    tw_counted_launch *added = &counts->launches[counts->count++];
    *added = (tw_counted_launch){0};
    return added;
}

void tw_counts_free(tw_counts *counts)
{
    free(counts->launches);
    *counts = (tw_counts){0};
}
