/* Prints a line of the library fifty times a second. */
#include "counter.h"

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

int main(void)
{
    char line[128];
    for (;;) {
        counter_next(line, sizeof line);
        puts(line);
        fflush(stdout);
        pause_briefly();
    }
}
