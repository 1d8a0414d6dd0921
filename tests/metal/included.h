/* Included by features.metal as parameters are that C and Metal share. */
#ifndef TESTS_METAL_INCLUDED_H
#define TESTS_METAL_INCLUDED_H

#define INCLUDED_VALUE 42

typedef struct included_args {
    int count;
    float scale;
} IncludedArgs;

#endif
