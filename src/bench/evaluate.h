/* How well a network names labelled images: counts of right answers, the confusion matrix, the worst mistakes. */
#ifndef TW_BENCH_EVALUATE_H
#define TW_BENCH_EVALUATE_H

#include "tilewise.h"

typedef struct tw_mistake {
    size_t index;         /* of the image */
    int label, predicted; /* what it is, and what it was taken for */
    double probability;   /* of what it was taken for */
} tw_mistake;

typedef struct tw_score {
    size_t labels, classes;    /* classes of the data, and outputs of the network, which are as many or more */
    size_t images, top1, top5; /* top5: the label is among the five largest outputs */
    uint32_t *confusion;       /* [labels][classes]: images of a class, by the class they were taken for */
    tw_mistake *worst;         /* the most probable first */
    size_t worst_count, worst_max;
} tw_score;

tw_status tw_score_create(size_t labels, size_t classes, size_t worst, tw_score *score, tw_error *error);
void tw_score_free(tw_score *score);

typedef struct tw_answer {
    size_t index;         /* of the image */
    int label;            /* 0 to labels - 1 */
    const float *outputs; /* [classes] */
    bool probabilities;   /* outputs are; else logits */
} tw_answer;
/* Of equal outputs the first counts as larger. False, and nothing is counted, where an output is not finite. */
bool tw_score_add(tw_score *score, const tw_answer *answer);

/* Of one class of the data. */
typedef struct tw_class_score {
    size_t images, correct;
    int mistaken_for; /* the class it was most often mistaken for; -1: never */
    size_t mistaken;  /* so often */
} tw_class_score;
tw_class_score tw_score_class(const tw_score *score, size_t label);

#endif
