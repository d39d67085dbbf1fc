/* Three threads count, each for itself, and print what they have come to. Now and then a fourth comes, counts once and goes. Usage: count [TIMES AS SLOWLY] */
#include "counter.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long slowly = 1;

static void pause_for(long milliseconds)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 * slowly * milliseconds }, NULL);
}

static void print(int number)
{
    char line[160];
    counter_next(number, line, sizeof line);
    puts(line);
    fflush(stdout);
}

static void *count(void *number)
{
    for (;;) {
        print((int)(intptr_t)number);
        pause_for(20);
    }
}

static void *once(void *number)
{
    print((int)(intptr_t)number);
    return NULL;
}

static void *come_and_go(void *number)
{
    for (;;) {
        pthread_t thread;
        pthread_create(&thread, NULL, once, number);
        pthread_join(thread, NULL);
        pause_for(30);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        slowly = strtol(argv[1], NULL, 10);
    pthread_t thread;
    pthread_create(&thread, NULL, count, (void *)1);
    pthread_create(&thread, NULL, count, (void *)2);
    pthread_create(&thread, NULL, come_and_go, (void *)4);
    count((void *)3);
}
