/* Workers call the handlers all the time and count which fix answers, and answers that are of none.
 * usage: server STATS THREADS [PAUSE]    STATS is mapped shared and holds u64s, see `stats`. With PAUSE each worker waits
 * as many microseconds after every few requests, and hardly takes a processor's time; else it calls as fast as it can. */
#include "handlers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile struct stats {
  uint64_t pid, running, bad, ticks, version[4];
  /* Of each worker, how often it has counted. */
  uint64_t rounds[16];
} *stats;

/* How often a worker waits: where no bit of this is set in a request. */
static int rests = 1023, pause_us = 50;

#define ADD(field) __atomic_add_fetch(&stats->field, 1, __ATOMIC_RELAXED)

static void *work(void *argument) {
  volatile uint64_t *rounds = &stats->rounds[(long)argument];
  ADD(running);
  long last = 0;
  for (int request = 0;; request = (request + 2) & 0xffff) {
    const char *text = greet();
    unsigned version = text[8] - '0';
    int extra = classify(request) - request;
    int good = !strncmp(text, "version ", 8) && version < 4 && (extra == 0 || extra == 1000 || extra == 3000) &&
               (tail(request) | 1) == (request | 1);
    /* Whichever fix counts, it goes on where the one before was: 0 is the program without any. */
    long now = tick();
    if (now != 0 && now <= last) good = 0;
    last = now;
    bump();
    if (!good) ADD(bad);
    else ADD(version[version]);
    ++*rounds;
    if ((request & rests) == 0) {
      stats->ticks = now;
      usleep(pause_us);
    }
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (argc > 3) rests = 63, pause_us = atoi(argv[3]);
  int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) return 1;
  stats = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (stats == MAP_FAILED) return 1;
  for (long i = 0; i < atoi(argv[2]); i++) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, (void *)i) != 0) return 1;
  }
  stats->pid = getpid();
  for (;;) pause();
}
