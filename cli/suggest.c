#include "suggest.h"
#include "core/status.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WORD = 63 };

static int least(int a, int b, int c)
{
    int least_of_two = a < b ? a : b;
    return least_of_two < c ? least_of_two : c;
}

/* Levenshtein's distance, letters of both cases equal; large for words beyond MAX_WORD. */
static int distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX_WORD || m > MAX_WORD) return 2 * MAX_WORD;
    int row[MAX_WORD + 1];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            int changed = least(row[j] + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = row[j];
            row[j] = changed;
        }
    }
    return row[m];
}

static const char *closest(const char *word, cli_names names)
{
    const char *best = NULL;
    int limit = (int)strlen(word) / 3 + 1, best_distance = limit + 1;
    for (size_t i = 0; i < names.count; i++) {
        int d = distance(word, names.items[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names.items[i];
        }
    }
    return best;
}

tw_status cli_unknown(const char *what, const char *word, cli_names names, tw_error *error)
{
    const char *best = closest(word, names);
    if (best) return tw_fail(error, TW_INVALID, "unknown %s \"%s\": did you mean \"%s\"?", what, word, best);
    char all[768] = "";
    for (size_t i = 0; i < names.count; i++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names.items[i]);
    }
    return tw_fail(error, TW_INVALID, "unknown %s \"%s\": expected one of %s", what, word, all);
}
