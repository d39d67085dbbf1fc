/* Workers that are inside functions of slow.c most of the time. usage: main THREADS
 * Prints {"pid":…,"control":"0x…"}; `control` is steered from outside. SIGHUP ends the workers' pauses. */
#define _GNU_SOURCE
#include "slow.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST 16
/* Field for field as FIELDS of busy.test.ts. */
static struct {
  volatile uint64_t function, in_ms, out_ms, running, inside, old, fixed, bad;
} control = {.in_ms = 1, .out_ms = 1};

static int (*const functions[])(long) = {slow, rare, sorts, unmarked, raises};

__attribute__((noinline)) void pause_ms(long ms) {
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000l};
  __atomic_add_fetch(&control.inside, 1, __ATOMIC_SEQ_CST);
  if (ms > 0) nanosleep(&pause, 0);
  __atomic_sub_fetch(&control.inside, 1, __ATOMIC_SEQ_CST);
}

static pthread_t main_thread, workers[MOST];
static int count;

/* The main thread passes it on, whose pauses it breaks off. */
static void on_hangup(int signal) {
  if (!pthread_equal(pthread_self(), main_thread)) return;
  for (int i = 0; i < count; i++) pthread_kill(workers[i], signal);
}

static void on_signal(int signal) { pause_ms((long)control.in_ms + (signal == 0)); }

static void *work(void *number) {
  char name[16];
  snprintf(name, sizeof name, "slow-%ld", (long)number);
  pthread_setname_np(pthread_self(), name);
  size_t size = 64 << 10;
  stack_t other = {.ss_sp = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = size};
  sigaltstack(&other, 0);
  __atomic_add_fetch(&control.running, 1, __ATOMIC_SEQ_CST);
  for (;;) {
    uint64_t function = control.function;
    int result = functions[function]((long)control.in_ms);
    volatile uint64_t *counter = result == (int)function + 1 ? &control.old : result == (int)function + 1001 ? &control.fixed : &control.bad;
    __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    struct timespec pause = {(time_t)(control.out_ms / 1000), (long)(control.out_ms % 1000 * 1000000)};
    if (control.out_ms > 0) nanosleep(&pause, 0);
  }
  return 0;
}

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
  sigaction(SIGUSR1, &action, 0);
  main_thread = pthread_self();
  sigaction(SIGHUP, &(struct sigaction){.sa_handler = on_hangup}, 0);
  for (int wanted = argc > 1 ? atoi(argv[1]) : 1; count < wanted && count < MOST; count++)
    if (pthread_create(&workers[count], 0, work, (void *)(long)count)) return 1;
  printf("{\"pid\":%d,\"control\":\"0x%lx\"}\n", getpid(), (unsigned long)&control);
  fflush(stdout);
  for (;;) pause();
}
