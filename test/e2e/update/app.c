#include "update.h"

#include <stdio.h>

/* What it calls of the library and of the static library changes in step with it. */
__attribute__((noinline)) const char *app_line(void)
{
    static char line[128];
    unsigned long count = lib_count();
#ifdef UPDATE_FIXED
    const char *own = "app new";
#else
    const char *own = "app old";
#endif
    snprintf(line, sizeof line, "%s, %s, %s, %lu", own, lib_version(), parse_version(count), count);
    return line;
}

int main(void)
{
    print_forever(app_line);
}
