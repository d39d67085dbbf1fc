/* What a hotpatch costs the program, seen from inside it.
 * usage: probe THREADS [SLEEP_US]
 *  - one thread spins on the clock, pinned to the last processor, and records gaps
 *  - THREADS workers call probe_function every SLEEP_US (default 1000) and note when they saw which result
 * Prints one JSON line with addresses, then answers commands from the standard input with one JSON line each:
 *   reset | disarm | report | bench N | quit
 * The clock thread runs SCHED_FIFO while armed where it may, so that other programs do not count as the patcher's pause. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Results that the unpatched function gives, and the patched one; anything else is a torn switch. */
#define OLD_RESULT 6
#define NEW_RESULT 1006
#define LONGEST_PAUSE_NS 20000
#define MAX_GAPS 4096

__attribute__((noinline, noclone, aligned(16))) int probe_function(int x) { __asm__ volatile(""); return x + 1; }
__attribute__((noinline, noclone, aligned(16))) int probe_control(int x) { __asm__ volatile(""); return x + 1; }

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static _Atomic int epoch, armed, gap_count;
static _Atomic uint64_t longest_gap, gap_total;

struct worker {
  _Atomic uint64_t first_new, last_old, calls, longest_call;
  _Atomic int bad;
  char padding[64];
};
static struct worker *workers;
static int worker_count, sleep_us = 1000;

static void *watch_clock(void *unused) {
  cpu_set_t last;
  CPU_ZERO(&last);
  CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
  pthread_setaffinity_np(pthread_self(), sizeof last, &last);
  struct sched_param priority = {.sched_priority = 50};
  if (!getenv("PROBE_NOFIFO")) sched_setscheduler(0, SCHED_FIFO, &priority);
  int seen = epoch;
  uint64_t before = now();
  for (;;) {
    if (!armed) { usleep(500); before = now(); seen = epoch; continue; }
    uint64_t time = now(), gap = time - before;
    before = time;
    if (seen != epoch) { seen = epoch; continue; }
    if (gap > LONGEST_PAUSE_NS) {
      if (gap_count < MAX_GAPS) gap_count++;
      gap_total += gap;
      if (gap > longest_gap) longest_gap = gap;
    }
  }
  return unused;
}

static void *work(void *argument) {
  struct worker *self = argument;
  struct timespec pause = {sleep_us / 1000000, sleep_us % 1000000 * 1000l};
  for (;;) {
    uint64_t start = now();
    int result = probe_function(5);
    uint64_t end = now();
    self->calls++;
    if (end - start > self->longest_call) self->longest_call = end - start;
    if (result == OLD_RESULT) self->last_old = start;
    else if (result == NEW_RESULT) { if (!self->first_new) self->first_new = end; }
    else self->bad++;
    if (sleep_us) nanosleep(&pause, 0); else sched_yield();
  }
}

static double time_calls(int (*function)(int), long count) {
  double best = 1e9;
  for (int round = 0; round < 5; round++) {
    volatile int argument = 1;
    int sum = 0;
    uint64_t start = now();
    for (long i = 0; i < count / 5; i++) sum += function(argument);
    double each = (double)(now() - start) / (count / 5);
    probe_control(sum);
    if (each < best) best = each;
  }
  return best;
}

static void report(void) {
  uint64_t first_new = 0, last_first_new = 0, last_old = 0, longest_call = 0, calls = 0;
  int bad = 0, saw_new = 0, saw_old = 0;
  for (int i = 0; i < worker_count; i++) {
    struct worker *w = &workers[i];
    if (w->first_new) { saw_new++; if (!first_new || w->first_new < first_new) first_new = w->first_new; if (w->first_new > last_first_new) last_first_new = w->first_new; }
    if (w->last_old) { saw_old++; if (w->last_old > last_old) last_old = w->last_old; }
    if (w->longest_call > longest_call) longest_call = w->longest_call;
    bad += w->bad;
    calls += w->calls;
  }
  printf("{\"longestGapUs\":%.1f,\"gaps\":%d,\"gapTotalUs\":%.1f,\"threadsNew\":%d,\"threadsOld\":%d,\"bad\":%d,\"calls\":%lu,"
    "\"firstNew\":%lu,\"lastFirstNew\":%lu,\"lastOldStart\":%lu,\"mixedUs\":%.1f,\"longestCallUs\":%.1f,\"now\":%lu}\n",
    longest_gap / 1e3, gap_count, gap_total / 1e3, saw_new, saw_old, bad, calls, first_new, last_first_new, last_old,
    saw_new && last_old > first_new ? (last_old - first_new) / 1e3 : 0.0, longest_call / 1e3, now());
}

int main(int argc, char **argv) {
  worker_count = argc > 1 ? atoi(argv[1]) : 1;
  if (argc > 2) sleep_us = atoi(argv[2]);
  workers = calloc(worker_count + 1, sizeof *workers);
  setvbuf(stdout, 0, _IOLBF, 0);
  pthread_t thread;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 << 10);
  pthread_create(&thread, &small, watch_clock, 0);
  for (int i = 0; i < worker_count; i++) if (pthread_create(&thread, &small, work, &workers[i])) return 1;
  printf("{\"pid\":%d,\"threads\":%d,\"probeFunction\":\"0x%lx\",\"probeControl\":\"0x%lx\"}\n", getpid(), worker_count,
    (unsigned long)probe_function, (unsigned long)probe_control);
  for (char line[256]; fgets(line, sizeof line, stdin);) {
    if (!strncmp(line, "reset", 5)) {
      epoch++;
      armed = 1;
      usleep(3000);
      gap_count = 0;
      longest_gap = gap_total = 0;
      for (int i = 0; i < worker_count; i++) { workers[i].first_new = workers[i].last_old = workers[i].longest_call = workers[i].calls = 0; workers[i].bad = 0; }
      printf("{\"ok\":true,\"now\":%lu}\n", now());
    } else if (!strncmp(line, "report", 6)) report();
    else if (!strncmp(line, "disarm", 6)) { armed = 0; printf("{\"ok\":true}\n"); }
    else if (!strncmp(line, "bench", 5)) {
      long count = atol(line + 5);
      if (count <= 0) count = 100000000;
      printf("{\"functionNs\":%.3f,\"controlNs\":%.3f,\"count\":%ld}\n", time_calls(probe_function, count), time_calls(probe_control, count), count);
    } else if (!strncmp(line, "quit", 4)) break;
  }
  return 0;
}
