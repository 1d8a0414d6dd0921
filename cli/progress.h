/* A bar on standard error, if that is a terminal; nothing otherwise. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/* `done` of `total`, and what is being worked on. */
void cli_progress(int done, int total, const char *what);
/* Takes the bar away. */
void cli_progress_end(void);

#endif
