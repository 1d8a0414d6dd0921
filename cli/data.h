/* The folder that `make demo` fills with weights and labels. */
#ifndef CLI_DATA_H
#define CLI_DATA_H

#include <stdbool.h>

enum { CLI_PATH_SIZE = 4096 };

/* $TILEWISE_DATA, else $XDG_DATA_HOME/tilewise, else ~/.local/share/tilewise; then "/NAME" and `ending`. False where
 * there is no such folder to be named or the path is too long. */
bool cli_data_path(const char *name, const char *ending, char path[CLI_PATH_SIZE]);

#endif
