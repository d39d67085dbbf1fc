/* A multi-threaded program under load: workers call the handlers and count whether each reply is the old one, the fixed one, or neither.
 * usage: server STATS THREADS [PAUSE]    STATS is mapped shared and holds u64s, see `stats`; PAUSE as in series/server.c. */
#include "handlers.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static volatile struct stats {
  uint64_t pid, running, old, fixed, bad, hits, longest_pause_ns;
  /* Of each worker, how often it has counted. */
  uint64_t rounds[16];
} *stats;

/* As in series/server.c; and where a worker looks at the clock. */
static int rests = 4095, looks = 255, pause_us = 100;

#define ADD(field, by) __atomic_add_fetch(&stats->field, by, __ATOMIC_RELAXED)

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int old_code(int request) {
  static const int codes[] = {11, 0, 13, 24, 0, 29, 31, 37};
  int kind = request & 7;
  return kind == 1 ? request * 2 : kind == 4 ? request * 3 : codes[kind];
}

/* A reply may be made while the switch happens, so its parts may be of either build; each part must be right. */
static void check(const struct reply *reply, int request) {
  int fixed = !strcmp(reply->text, "fixed greeting");
  int code = reply->code - old_code(request);
  unsigned long length = reply->length - strlen(reply->text);
  int result = reply->operation(request);
  int good = (fixed || !strcmp(reply->text, "old greeting")) && (code == 0 || code == 1000) && length <= 1 &&
             (result == request * 2 || result == request * 3);
  if (!good) ADD(bad, 1);
  else if (fixed) ADD(fixed, 1);
  else ADD(old, 1);
}

static void *work(void *argument) {
  volatile uint64_t *rounds = &stats->rounds[(long)argument];
  ADD(running, 1);
  uint64_t last = now();
  for (int request = 0;; request = (request + 1) & 0xffff) {
    struct reply reply;
    handle(&reply, request);
    check(&reply, request);
    ++*rounds;
    bump();
    if ((request & looks) == 0) {
      uint64_t time = now();
      if (time - last > stats->longest_pause_ns) stats->longest_pause_ns = time - last;
      last = time;
      stats->hits = hits();
      if ((request & rests) == 0) usleep(pause_us);
    }
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (argc > 3) rests = looks = 63, pause_us = atoi(argv[3]);
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
