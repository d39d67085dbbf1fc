/* Three threads count, each for itself, and print what they have come to. Now and then a fourth comes, counts once and goes. */
#include "counter.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

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
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
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
        nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
    }
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, count, (void *)1);
    pthread_create(&thread, NULL, count, (void *)2);
    pthread_create(&thread, NULL, come_and_go, (void *)4);
    count((void *)3);
}
