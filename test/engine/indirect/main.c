/* Works on and on, and prints what comes of it. */
#include <stdio.h>
#include <time.h>

int work(int value, const char *text);

int main(void)
{
    for (;;) {
        printf("%d\n", work(1, "abc"));
        fflush(stdout);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
}
