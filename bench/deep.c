/* Threads that sleep again and again, each under DEPTH frames of its own and those of the C library.
 * usage: deep THREADS DEPTH PAUSE_US    prints {"pid":…,"probeFunction":"0x…"}: 8 bytes that may be rewritten with what they hold
 *   gcc -O2 -pthread deep.c -o deep */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long pause_us;
static int depth;
static volatile int sink;

__attribute__((noinline, noclone, aligned(16))) int probe_function(int x) { __asm__ volatile(""); return x + 1; }

__attribute__((noinline)) static void rest(void) {
  struct timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};
  for (;;) nanosleep(&pause, 0);
}

#define LEVEL(name, room_size)                                     \
  __attribute__((noinline)) static int name(int n, int a, int b) { \
    volatile int room[room_size];                                  \
    room[n % room_size] = a;                                       \
    if (n <= 0) rest();                                            \
    int result = next[n % 4](n - 1, b + n, a * 3) + room[0] + b;   \
    sink = result;                                                 \
    return result + a;                                             \
  }
static int (*const next[4])(int, int, int);
LEVEL(level_a, 6)
LEVEL(level_b, 12)
LEVEL(level_c, 24)
LEVEL(level_d, 40)
static int (*const next[4])(int, int, int) = {level_a, level_b, level_c, level_d};

static void *work(void *argument) {
  sink = level_a(depth, (int)(long)argument, 1);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  depth = atoi(argv[2]) - 1;
  pause_us = atol(argv[3]);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 << 10);
  pthread_t thread;
  for (long i = 1; i < atol(argv[1]); i++) if (pthread_create(&thread, &small, work, (void *)i)) return 1;
  usleep(200000);
  printf("{\"pid\":%d,\"probeFunction\":\"0x%lx\"}\n", getpid(), (unsigned long)probe_function);
  fflush(stdout);
  work(0);
}
