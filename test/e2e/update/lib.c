#include "update.h"

static unsigned long count;

#ifdef UPDATE_REFUSED
/* A running process has its own value of it. */
unsigned long lib_step = 2;
#else
unsigned long lib_step = 1;
#endif

unsigned long lib_count(void)
{
    return count += lib_step;
}

const char *lib_version(void)
{
#ifdef UPDATE_FIXED
    return lib_step == 0 ? "lib stands" : "lib new";
#else
    return "lib old";
#endif
}
