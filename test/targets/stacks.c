/* Threads on stacks of every kind, for the walks of test/process/stacks.test.ts.
 * usage: stacks          one thread for each of `kinds`, in it for good; prints {"pid":…,"threads":N}
 *        stacks step     prints {"pid":…,"go":"0x…","done":"0x…"}, waits for `go` and then runs `scenario` up to `done`
 *   gcc -O2 -g -pthread -Wl,-z,lazy stacks.c stacks.S */
#define _GNU_SOURCE
#include <alloca.h>
#include <immintrin.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
volatile int sink;
static volatile int ready;
static volatile int stepping;
/* Of stacks.S: calls `function`, without unwind data. */
int call_unmarked(int (*function)(int), int argument);

/* In which a thread stays; when stepping it returns at once. */
NOINLINE static void rest(void) {
  if (stepping) return;
  __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
  for (;;) poll(0, 0, 1000000);
}

NOINLINE int deep(int n) {
  volatile char room[64];
  room[0] = (char)n;
  if (n == 0) rest();
  int result = n == 0 ? 1 : deep(n - 1) + room[0];
  sink = result;
  return result;
}

NOINLINE static int with_alloca(int n) {
  volatile char *room = alloca(1000 + (size_t)n);
  room[0] = 1;
  sink += deep(1);
  return room[0];
}

/* A stack that is realigned to 32 bytes: the CFA is found through a saved register. */
__attribute__((target("avx2"))) NOINLINE static int realigned(int n) {
  __m256i numbers = _mm256_set1_epi32(n);
  volatile __m256i kept = numbers;
  volatile char *room = alloca((size_t)n + 40);
  room[0] = 1;
  deep(2);
  __m256i back = kept;
  return _mm256_extract_epi32(back, 3) + room[0];
}

static int compare(const void *a, const void *b) {
  deep(1);
  return *(const int *)a - *(const int *)b;
}

NOINLINE static void sorts(int n) {
  int numbers[] = {4, n, 3, 1};
  qsort(numbers, 4, sizeof *numbers, compare);
  sink += numbers[0];
}

static void on_signal(int signal) {
  sink += signal;
  deep(1);
}

NOINLINE static void raises(int n) {
  raise(n);
  sink++;
}

/* The call is the last instruction: its return address lies behind the function. */
__attribute__((noreturn)) NOINLINE static void does_not_return(void) {
  deep(0);
  _exit(1);
}
NOINLINE static int ends_in_a_call(int n) {
  if (n == 3) does_not_return();
  return n;
}

NOINLINE static int many_registers(int a, int b, int c) {
  int x = deep(a), y = deep(b), z = deep(c), w = deep(a), v = deep(b), u = deep(c);
  return x * y + z * w + v * u + x * z + y * w + u + a + b + c;
}

NOINLINE static void in_vdso(void) {
  struct timespec now;
  if (stepping) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    return;
  }
  __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
  for (;;) clock_gettime(CLOCK_MONOTONIC, &now);
}

NOINLINE static void in_string_functions(void) {
  size_t size = stepping ? 300 : 1 << 20;
  char *room = malloc(size);
  if (!stepping) __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
  do {
    memset(room, sink & 15, size);
    memmove(room + 1, room, size - 1);
    sink += room[size / 2];
  } while (!stepping);
  free(room);
}

static void on_other_stack(void) {
  size_t size = 256 << 10;
  stack_t other = {.ss_sp = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), .ss_size = size};
  sigaltstack(&other, 0);
  raises(SIGUSR2);
}

static void k_deep(void) { deep(20); }
static void k_deeper(void) { deep(3000); }
static void k_alloca(void) { sink += with_alloca(50); }
static void k_realigned(void) { sink += realigned(5); }
static void k_sorts(void) { sorts(2); }
static void k_signal(void) { raises(SIGUSR1); }
static void k_last_call(void) { sink += ends_in_a_call(3); }
static void k_many(void) { sink += many_registers(1, 2, 3); }
static void k_unmarked(void) { sink += call_unmarked(deep, 2); }

/* The last one is code that nothing describes: gdb guesses there. */
static void (*const kinds[])(void) = {k_deep,  k_deeper,    k_alloca, k_realigned, k_sorts,           k_signal,
                                      on_other_stack, k_last_call, k_many,   in_vdso,     in_string_functions, k_unmarked};
#define KINDS (int)(sizeof kinds / sizeof *kinds)

static void *run(void *kind) {
  kinds[(intptr_t)kind]();
  return 0;
}

/* Every function that is called here is called for the first time: through its PLT stub and the dynamic linker. */
NOINLINE static void scenario(void) {
  char text[64];
  struct timespec now = {0, 0};
  sink += with_alloca(20);
  sink += realigned(7);
  sorts(2);
  raises(SIGUSR1);
  on_other_stack();
  sink += many_registers(1, 2, 3);
  sink += ends_in_a_call(1);
  in_vdso();
  in_string_functions();
  snprintf(text, sizeof text, "%d %s %.3f", sink, "text", 1.5 * sink);
  sink += (int)strtol(text, 0, 10) + strcmp(text, "other") + (int)strlen(text);
  nanosleep(&now, 0);
}

NOINLINE void done(void) { __asm__ volatile("" ::: "memory"); }

volatile uint64_t go;
NOINLINE static void wait_for_go(void) {
  while (!go) __asm__ volatile("pause");
}

int main(int argc, char **argv) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, 0);
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, 0);
  if (argc > 1 && !strcmp(argv[1], "step")) {
    stepping = 1;
    printf("{\"pid\":%d,\"go\":\"0x%lx\",\"done\":\"0x%lx\"}\n", getpid(), (unsigned long)&go, (unsigned long)done);
    fflush(stdout);
    wait_for_go();
    scenario();
    done();
    for (;;) pause();
  }
  for (intptr_t kind = 0; kind < KINDS; kind++) {
    pthread_t thread;
    if (pthread_create(&thread, 0, run, (void *)kind)) return 1;
  }
  while (ready < KINDS) usleep(1000);
  printf("{\"pid\":%d,\"threads\":%d}\n", getpid(), KINDS + 1);
  fflush(stdout);
  deep(5);
}
