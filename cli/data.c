#include "data.h"

#include <stdio.h>
#include <stdlib.h>

bool cli_data_path(const char *name, const char *ending, char path[CLI_PATH_SIZE])
{
    const char *folder = getenv("TILEWISE_DATA"), *below = "";
    if (!folder || !*folder) {
        folder = getenv("XDG_DATA_HOME");
        below = "/tilewise";
    }
    if (!folder || !*folder) {
        folder = getenv("HOME");
        below = "/.local/share/tilewise";
    }
    if (!folder || !*folder) return false;
    int length = snprintf(path, CLI_PATH_SIZE, "%s%s/%s%s", folder, below, name, ending);
    return length > 0 && length < CLI_PATH_SIZE;
}
