/* What it calls chooses its implementation when the program is loaded: a function of this file, one of another, and those of a static C library. */
#include <string.h>

static int add_ten(int value)
{
    return value + 10;
}

static void *choose(void)
{
    return (void *)add_ten;
}

static int quick(int value) __attribute__((ifunc("choose")));
extern int shared(int value);

static char copy[64];

int work(int value, const char *text)
{
    size_t length = strlen(text);

    memcpy(copy, text, length + 1);
#ifdef FIXED
    if (memcmp(copy, text, length) != 0) return -1;
    return 1000 + quick(value) + shared(value) + (int)length;
#else
    return quick(value) + shared(value) + (int)length;
#endif
}
