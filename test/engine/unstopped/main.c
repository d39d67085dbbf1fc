/* Workers that never wait, and a thread that watches in /proc whether any of them is traced: no thread can be stopped without that.
 * usage: main THREADS    prints {"pid":…,"control":"0x…"} */
#define _GNU_SOURCE
#include "work.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 16
/* Field for field as FIELDS of unstopped.test.ts. `traced` counts sights of a worker that was. */
static struct {
  volatile uint64_t running, looks, traced, old, fixed, bad;
} control;
static volatile int tids[MOST];

static void *work(void *number) {
  tids[(long)number] = gettid();
  __atomic_add_fetch(&control.running, 1, __ATOMIC_SEQ_CST);
  uint64_t old = 0, fixed = 0, bad = 0;
  for (int i = 0;; i = (i + 1) & 0xfff) {
    int a = add(i) - i - 1, b = scale(i) - 2 * i;
    if (a == 0 && b == 0) old++;
    else if (a == 1000 && b == 1000) fixed++;
    else if ((a != 0 && a != 1000) || (b != 0 && b != 1000)) bad++;
    if (i == 0) {
      __atomic_add_fetch(&control.old, old, __ATOMIC_RELAXED);
      __atomic_add_fetch(&control.fixed, fixed, __ATOMIC_RELAXED);
      __atomic_add_fetch(&control.bad, bad, __ATOMIC_RELAXED);
      old = fixed = bad = 0;
    }
  }
  return 0;
}

static int is_traced(int tid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
  int fd = open(path, O_RDONLY);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (length < 0) return 0;
  text[length] = 0;
  const char *field = strstr(text, "TracerPid:\t");
  return field && field[11] != '0';
}

static void *watch(void *count) {
  for (;;) {
    for (long i = 0; i < (long)count; i++) if (tids[i] && is_traced(tids[i])) control.traced++;
    control.looks++;
  }
  return 0;
}

int main(int argc, char **argv) {
  long count = argc > 1 ? atol(argv[1]) : 1;
  pthread_t thread;
  for (long i = 0; i < count && i < MOST; i++) if (pthread_create(&thread, 0, work, (void *)i)) return 1;
  if (pthread_create(&thread, 0, watch, (void *)count)) return 1;
  printf("{\"pid\":%d,\"control\":\"0x%lx\"}\n", getpid(), (unsigned long)&control);
  fflush(stdout);
  for (;;) pause();
}
