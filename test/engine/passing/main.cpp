/* Workers that leave patched functions in every way but a return. usage: main   prints {"pid":…,"control":"0x…"} */
#include "through.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <pthread.h>
#include <unistd.h>

/* Field for field as FIELDS of passing.test.ts: how often each way was gone with an old and a fixed result, and what was wrong. */
static struct {
  std::atomic<uint64_t> old_results[6], fixed_results[6], handled, bad;
} control;

std::atomic<long> witnesses;
volatile int zero;
Witness::~Witness() { witnesses++; }

void throws(int code) { throw Error{code}; }
void jumps(jmp_buf &target) { longjmp(target, 1); }
void sleeps() {
  for (;;) usleep(1000000);
}

static void count(int way, int result, int expected) {
  if (result == expected) control.old_results[way]++;
  else if (result == expected + 1000) control.fixed_results[way]++;
  else control.bad++;
}

static void *with_exceptions(void *) {
  for (int i = 1;; i = (i & 0xfff) + 1) {
    try {
      passed_by_exception(i);
      control.bad++;
    } catch (const Error &error) {
      /* Which of the two was passed by nobody can tell: it is told apart by what the other ways saw. */
      count(0, error.code - i + (catches(i) - 2), 0);
    }
    count(1, catches(i), 2);
    try {
      rethrows(i);
      control.bad++;
    } catch (const Error &error) {
      count(2, error.code - i, 0);
    }
    if ((i & 63) == 0) usleep(100);
  }
}

static void *with_jumps(void *) {
  for (volatile int i = 0;; i = i + 1) {
    jmp_buf here;
    if (setjmp(here) == 0) {
      passed_by_jump(here, true);
      control.bad++;
    }
    count(3, passed_by_jump(here, false), 4);
    if ((i & 255) == 0) usleep(100);
  }
}

static void *to_be_cancelled(void *) {
  passed_by_cancellation();
  return nullptr;
}

static void *with_cancellation(void *) {
  for (;;) {
    pthread_t thread;
    void *result;
    long before = witnesses.load();
    if (pthread_create(&thread, nullptr, to_be_cancelled, nullptr)) {
      control.bad++;
      continue;
    }
    usleep(500);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED || witnesses.load() == before) control.bad++;
    else control.old_results[4]++;
    usleep(2000);
  }
}

static void on_signal(int) {
  control.handled++;
  int saved = interrupted(10);
  if (saved != 6 && saved != 1006) control.bad++;
}

static void *with_signals(void *) {
  for (;;) {
    count(5, interrupted(20000), 6);
    usleep(50);
  }
}

int main() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  pthread_t threads[4];
  void *(*const works[])(void *) = {with_exceptions, with_jumps, with_cancellation, with_signals};
  for (int i = 0; i < 4; i++)
    if (pthread_create(&threads[i], nullptr, works[i], nullptr)) return 1;
  printf("{\"pid\":%d,\"control\":\"0x%lx\"}\n", getpid(), (unsigned long)&control);
  fflush(stdout);
  for (;;) {
    usleep(300);
    pthread_kill(threads[3], SIGUSR1);
    pthread_kill(threads[0], SIGUSR1);
  }
}
