/* A small test harness: cases are functions in a table; a case fails at its first failed CHECK that is not undone by
 * returning, keeps its message, and the others still run. The last line is 'N passed, N failed, N skipped'. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

/* Runs all cases, or those whose names contain argv[1]. Returns the exit status: 1 where one failed. */
int test_main(int argc, char **argv, const test_case *cases, size_t count);

/* Record a failure of the running case; it goes on. */
__attribute__((format(printf, 3, 4))) void test_fail(const char *file, int line, const char *format, ...);
/* Mark the running case as skipped, with a plain reason. */
__attribute__((format(printf, 1, 2))) void test_skip(const char *format, ...);

/* For table-driven programs whose cases are not functions: count one result under a name. */
void test_begin(const char *name);
void test_end(void);
int test_finish(void);
/* For programs that come back to a case: has the running one failed so far? And count one by hand. */
bool test_failed(void);
typedef enum test_outcome { TEST_PASSED, TEST_FAILED, TEST_SKIPPED } test_outcome;
void test_count(test_outcome outcome);

/* A fresh folder for this process's files, removed at exit. */
const char *test_folder(void);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                                           \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_MSG(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                                                \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_STR(actual, expected)                                                                                    \
    CHECK_MSG(strcmp(actual, expected) == 0, "\"%s\", expected \"%s\"", actual, expected)
#define CHECK_CONTAINS(text, part) CHECK_MSG(strstr(text, part), "\"%s\" does not contain \"%s\"", text, part)

#endif
