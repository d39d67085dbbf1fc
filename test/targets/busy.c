/* A thread that is inside busy_function nearly all the time: a patch of it has to wait, or to be refused. Prints each result. */
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

__attribute__((noinline, noclone)) int busy_function(int seconds) {
  struct timespec pause = {seconds, 0};
  nanosleep(&pause, 0);
  return seconds;
}

static void *work(void *unused) {
  for (;;) {
    printf("returned %d\n", busy_function(1));
    fflush(stdout);
  }
  return unused;
}

int main(void) {
  pthread_t thread;
  printf("{\"pid\":%d,\"busyFunction\":\"0x%lx\"}\n", getpid(), (unsigned long)busy_function);
  fflush(stdout);
  if (pthread_create(&thread, 0, work, 0)) return 1;
  pthread_join(thread, 0);
}
