/* So many threads run the function over and over that one of them is inside it at any moment. */
#include <pthread.h>
#include <stdio.h>

void enter(void);

static void *run(void *unused)
{
    for (;;)
        enter();
    return unused;
}

int main(void)
{
    for (int i = 0; i < 7; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, run, NULL);
    }
    puts("running");
    fflush(stdout);
    run(NULL);
}
