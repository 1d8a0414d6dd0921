#include "progress.h"
#include "bench/timing.h"

#include <limits.h>
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

void cli_meter_start(cli_meter *meter, size_t total)
{
    *meter = (cli_meter){.total = total, .started = tw_now()};
}

/* "0:07", "1:02:03" */
static void format_time(double seconds, char *text, size_t size)
{
    long all = seconds < 3.6e8 ? (long)(seconds + 0.5) : 360000000;
    if (all >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", all / 3600, all / 60 % 60, all % 60);
    else
        snprintf(text, size, "%ld:%02ld", all / 60, all % 60);
}

void cli_meter_show(cli_meter *meter, size_t done)
{
    double now = tw_now(), passed = now - meter->started;
    char what[64], left[32];
    if (done == 0 || passed <= 0 || meter->total > INT_MAX || now - meter->drawn < 0.1) return;
    meter->drawn = now;
    format_time((double)(meter->total - done) * passed / (double)done, left, sizeof left);
    double rate = (double)done / passed;
    snprintf(what, sizeof what, "%.*f images/s, %s left", rate < 100, rate, left);
    cli_progress((int)done, (int)meter->total, what);
}
