/* Unknown names: an error that offers the closest known one, or lists what there is. */
#ifndef CLI_SUGGEST_H
#define CLI_SUGGEST_H

#include "tilewise.h"

typedef struct cli_names {
    const char *const *items;
    size_t count;
} cli_names;

/* `unknown WHAT "word"`, and the closest of `names`, or all when none is close. Returns TW_INVALID. */
tw_status cli_unknown(const char *what, const char *word, cli_names names, tw_error *error);

#endif
