/* Three threads count, each for itself, and print what they have come to. */
#include "counter.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static void *count(void *number)
{
    char line[160];
    for (;;) {
        counter_next((int)(intptr_t)number, line, sizeof line);
        puts(line);
        fflush(stdout);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, count, (void *)1);
    pthread_create(&thread, NULL, count, (void *)2);
    count((void *)3);
}
