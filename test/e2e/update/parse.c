#include "update.h"

static unsigned long longest;

const char *parse_version(unsigned long number)
{
    if (number > longest)
        longest = number;
#ifdef UPDATE_FIXED
    return longest > 1000000 ? "parse too long" : "parse new";
#else
    return longest == 0 ? "parse none" : "parse old";
#endif
}
