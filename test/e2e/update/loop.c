#include "update.h"

#include <stdio.h>

#ifdef _WIN32
#include <windows.h>
static void pause_briefly(void)
{
    Sleep(20);
}
#else
#include <time.h>
static void pause_briefly(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}
#endif

void print_forever(const char *(*line)(void))
{
    for (;;) {
        puts(line());
        fflush(stdout);
        pause_briefly();
    }
}
