/* Small text files that a user gives. */
#ifndef TW_BENCH_TEXT_H
#define TW_BENCH_TEXT_H

#include "tilewise.h"

/* The whole file as a string, which the caller frees. Refuses folders, files with zero bytes in them and those of
 * 16 MiB and more. `what` is what was expected in it: "labels". */
tw_status tw_text_read(const char *path, const char *what, char **text, tw_error *error);

#endif
