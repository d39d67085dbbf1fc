/* Workers log in all the time: to session 1, which nobody attacks, and to session 5, which has been guessed at 7 times.
 * usage: server STATS THREADS [PAUSE]    STATS is mapped shared and holds u64s, see `stats`. PAUSE: microseconds between logins, 100 by itself. */
#include "sessions.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile struct stats {
  uint64_t pid, running, let_in_1, refused_1, let_in_5, refused_5, failures_5, rules;
  /* Of each worker, how often it has counted. */
  uint64_t rounds[16];
} *stats;

static int pause_us = 100;

#define ADD(field) __atomic_add_fetch(&stats->field, 1, __ATOMIC_RELAXED)

static void *work(void *argument) {
  volatile uint64_t *rounds = &stats->rounds[(long)argument];
  ADD(running);
  for (;;) {
    if (log_in(1, 1)) ADD(let_in_1);
    else ADD(refused_1);
    if (log_in(5, 1)) ADD(let_in_5);
    else ADD(refused_5);
    stats->failures_5 = sessions[5].failures;
    rules = stats->rules;
    ++*rounds;
    usleep(pause_us);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (argc > 3) pause_us = atoi(argv[3]);
  int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) return 1;
  stats = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (stats == MAP_FAILED) return 1;
  stats->rules = 1;
  for (int guess = 0; guess < 7; guess++) log_in(5, 0);
  for (long i = 0; i < atoi(argv[2]); i++) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, (void *)i) != 0) return 1;
  }
  stats->pid = getpid();
  for (;;) pause();
}
