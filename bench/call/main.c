/*
 * For each line read, "plain" or "padded", calls that function CALLS times and prints the nanoseconds that one call took.
 * Each call needs the result of the one before, so that none can overlap with another.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

unsigned long step_plain(unsigned long x);
unsigned long step_padded(unsigned long x);

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(void)
{
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned long x = 1;
        double began = now();
        if (strcmp(line, "plain\n") == 0)
            for (long i = 0; i < CALLS; i++)
                x = step_plain(x);
        else
            for (long i = 0; i < CALLS; i++)
                x = step_padded(x);
        printf("%.4f %lx\n", (now() - began) / CALLS, x);
        fflush(stdout);
    }
    return 0;
}
