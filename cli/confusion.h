/* The confusion matrix as a picture: a row for each class of the data, a column for each output of the network. */
#ifndef CLI_CONFUSION_H
#define CLI_CONFUSION_H

#include "bench/evaluate.h"

typedef struct cli_confusion {
    const tw_score *score;
    const char *title;
    /* What class `index` is called: of the data (true) or of the network. */
    const char *(*name)(const void *context, size_t index);
    const void *context;
} cli_confusion;

/* Does the name end in .png or .svg, and could the file be written? */
tw_status cli_confusion_check(const char *path, tw_error *error);
/* A matrix of more than 4000 classes is refused, as no screen shows it. */
tw_status cli_confusion_write(const char *path, const cli_confusion *picture, tw_error *error);

#endif
