#include "progress.h"

#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 24 };

void cli_progress(int done, int total, const char *what)
{
    if (!isatty(STDERR_FILENO) || total < 1) return;
    if (done > total) done = total;
    int filled = (int)((long)done * WIDTH / total);
    fprintf(stderr, "\r\x1b[K[%.*s%*s] %d/%d %.60s", filled, "########################", WIDTH - filled, "", done,
            total, what);
    fflush(stderr);
}

void cli_progress_end(void)
{
    if (isatty(STDERR_FILENO)) fputs("\r\x1b[K", stderr);
}
