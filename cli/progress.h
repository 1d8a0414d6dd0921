/* A bar on standard error, if that is a terminal; nothing otherwise. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>

/* `done` of `total`, and what is being worked on. */
void cli_progress(int done, int total, const char *what);
/* Takes the bar away. */
void cli_progress_end(void);

/* Many images: the bar with images/s and the time that is left, drawn a few times a second. */
typedef struct cli_meter {
    size_t total;
    double started, drawn;
} cli_meter;
void cli_meter_start(cli_meter *meter, size_t total);
void cli_meter_show(cli_meter *meter, size_t done);

#endif
