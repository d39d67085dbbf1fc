/* A program whose main thread notices when it does not get back what it had: registers, or what a system call returns.
 * usage: borrowed MODE    prints one JSON line with the address of its counters: u64 rounds, u64 bad, u64 signals,
 * i64 what was wrong last: an error number, or what a call returned, negated.
 *   spin     holds patterns in all vector (and mask) registers through a loop without calls, then compares
 *   signals  the same, with a timer signal every millisecond
 *   long     sleeps 300 ms, again and again, as its only thread
 *   epoll, poll, read, futex, sleep, sigsuspend   waits in that call, woken every few milliseconds; any error counts as bad,
 *            save that an interrupted epoll_wait counts as a signal
 * Every mode but spin and long has a second thread that wakes the first. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <pthread.h>
#ifdef __aarch64__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static volatile struct { uint64_t rounds, bad, signals; int64_t wrong; } counters;
static int pipes[2];
static sem_t semaphore;
static pthread_t main_thread;
static int wake_by_signal;

#if defined(__x86_64__)
static uint8_t in[32][64], out[32][64];
static uint64_t masks_in[8], masks_out[8];
#define ALL_16(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define ALL_32(M) ALL_16(M) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define MASKS(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define LOAD_ZMM(n) "vmovdqu64 64*" #n "(%1), %%zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%2)\n"
#define LOAD_MASK(n) "kmovq 8*" #n "(%3), %%k" #n "\n"
#define STORE_MASK(n) "kmovq %%k" #n ", 8*" #n "(%4)\n"
#define LOAD_YMM(n) "vmovdqu 64*" #n "(%1), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", 64*" #n "(%2)\n"
#define LOAD_XMM(n) "movdqu 64*" #n "(%1), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", 64*" #n "(%2)\n"
#define TURN "1: dec %0\njnz 1b\n"

static int width, registers;
__attribute__((noinline)) static void turn(long n) {
  if (width == 64) __asm__ volatile(ALL_32(LOAD_ZMM) MASKS(LOAD_MASK) TURN ALL_32(STORE_ZMM) MASKS(STORE_MASK) "vzeroupper\n"
    : "+r"(n) : "r"(in), "r"(out), "r"(masks_in), "r"(masks_out) : "memory", "cc");
  else if (width == 32) __asm__ volatile(ALL_16(LOAD_YMM) TURN ALL_16(STORE_YMM) "vzeroupper\n" : "+r"(n) : "r"(in), "r"(out) : "memory", "cc");
  else __asm__ volatile(ALL_16(LOAD_XMM) TURN ALL_16(STORE_XMM) : "+r"(n) : "r"(in), "r"(out) : "memory", "cc");
}

static void prepare(void) {
  __builtin_cpu_init();
  width = __builtin_cpu_supports("avx512bw") ? 64 : __builtin_cpu_supports("avx") ? 32 : 16;
  registers = width == 64 ? 32 : 16;
  for (int i = 0; i < 32; i++) for (int j = 0; j < 64; j++) in[i][j] = (uint8_t)(i * 37 + j * 11 + 5);
  for (int i = 0; i < 8; i++) masks_in[i] = 0x9e3779b97f4a7c15ull * (i + 1);
}

static int differs(void) {
  int count = 0;
  for (int i = 0; i < registers; i++) if (memcmp(in[i], out[i], width)) count++;
  return count + (width == 64 && memcmp(masks_in + 1, masks_out + 1, 7 * 8));
}
#elif defined(__aarch64__)
/* SVE's registers are as wide as the processor likes, its predicates an eighth of that; without SVE there are 16 bytes each. */
#define WIDEST 256
static uint8_t in[32 * WIDEST], out[32 * WIDEST], predicates_in[16 * WIDEST / 8], predicates_out[16 * WIDEST / 8];
#define ALL_16(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define ALL_32(M) ALL_16(M) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define LOAD_Z(n) "ldr z" #n ", [%1, #" #n ", mul vl]\n"
#define STORE_Z(n) "str z" #n ", [%2, #" #n ", mul vl]\n"
#define LOAD_P(n) "ldr p" #n ", [%3, #" #n ", mul vl]\n"
#define STORE_P(n) "str p" #n ", [%4, #" #n ", mul vl]\n"
#define LOAD_Q(n) "ldr q" #n ", [%1, #16*" #n "]\n"
#define STORE_Q(n) "str q" #n ", [%2, #16*" #n "]\n"
#define SVE ".arch_extension sve\n"
#define TURN "1: subs %0, %0, #1\nb.ne 1b\n"

static int width, scalable;
__attribute__((noinline)) static void turn(long n) {
  if (scalable) __asm__ volatile(SVE ALL_32(LOAD_Z) ALL_16(LOAD_P) TURN ALL_32(STORE_Z) ALL_16(STORE_P)
    : "+r"(n) : "r"(in), "r"(out), "r"(predicates_in), "r"(predicates_out) : "memory", "cc", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15");
  else __asm__ volatile(ALL_32(LOAD_Q) TURN ALL_32(STORE_Q)
    : "+r"(n) : "r"(in), "r"(out) : "memory", "cc", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15");
}

static void prepare(void) {
  scalable = (getauxval(AT_HWCAP) & HWCAP_SVE) != 0;
  width = 16;
  if (scalable) __asm__(SVE "rdvl %0, #1" : "=r"(width));
  for (int i = 0; i < 32 * WIDEST; i++) in[i] = (uint8_t)(i * 37 + i / width * 11 + 5);
  for (int i = 0; i < 16 * WIDEST / 8; i++) predicates_in[i] = (uint8_t)(i * 29 + 3);
}

static int differs(void) {
  return memcmp(in, out, 32 * width) || (scalable && memcmp(predicates_in, predicates_out, 16 * width / 8));
}
#endif

static void spin(void) {
  turn(200000);
  counters.bad += differs();
}

static void on_signal(int number) { (void)number; counters.signals++; }

static void *waker(void *unused) {
  struct timespec pause = {0, 2000000};
  for (;;) {
    nanosleep(&pause, 0);
    if (wake_by_signal) pthread_kill(main_thread, SIGUSR1);
    else { sem_post(&semaphore); if (write(pipes[1], "x", 1) != 1) counters.bad++; }
  }
  return unused;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "spin";
  prepare();
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, 0);
  action.sa_flags = 0;
  sigaction(SIGUSR1, &action, 0);
  main_thread = pthread_self();
  if (pipe(pipes) || sem_init(&semaphore, 0, 0)) return 1;
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event);
  int signals = !strcmp(mode, "signals"), suspend = !strcmp(mode, "sigsuspend");
  printf("{\"counters\":\"0x%llx\",\"width\":%d}\n", (unsigned long long)(uintptr_t)&counters, width);
  fflush(stdout);
  if (signals) { struct itimerval every = {{0, 1000}, {0, 1000}}; setitimer(ITIMER_REAL, &every, 0); }
  sigset_t usr1, none;
  sigemptyset(&none); sigemptyset(&usr1); sigaddset(&usr1, SIGUSR1);
  if (suspend) { wake_by_signal = 1; pthread_sigmask(SIG_BLOCK, &usr1, 0); }
  pthread_t thread;
  if (!signals && strcmp(mode, "spin") && strcmp(mode, "long") && pthread_create(&thread, 0, waker, 0)) return 1;
  char byte;
  struct timespec three_ms = {0, 3000000}, long_ms = {0, 300000000};
  for (;; counters.rounds++) {
    if (!strcmp(mode, "spin") || signals) spin();
    else if (!strcmp(mode, "epoll")) { 
      int ready = epoll_wait(epoll, &event, 1, -1);
      if (ready < 0 && errno == EINTR) counters.signals++;
      else if (ready != 1) counters.bad++, counters.wrong = ready < 0 ? errno : -ready;
      else if (read(pipes[0], &byte, 1) != 1) counters.bad++, counters.wrong = 1000 + errno;
    }
    else if (!strcmp(mode, "poll")) { struct pollfd p = {pipes[0], POLLIN, 0}; if (poll(&p, 1, 10000) != 1 || read(pipes[0], &byte, 1) != 1) counters.bad++; }
    else if (!strcmp(mode, "read")) { if (read(pipes[0], &byte, 1) != 1) counters.bad++; }
    else if (!strcmp(mode, "futex")) { if (sem_wait(&semaphore)) counters.bad++; }
    else if (!strcmp(mode, "sleep")) { if (nanosleep(&three_ms, 0)) counters.bad++; }
    else if (!strcmp(mode, "long")) { if (nanosleep(&long_ms, 0)) counters.bad++; }
    else if (suspend) {
      sigset_t now;
      uint64_t before = counters.signals;
      if (sigsuspend(&none) != -1 || errno != EINTR || counters.signals == before) counters.bad++;
      pthread_sigmask(SIG_BLOCK, 0, &now);
      if (!sigismember(&now, SIGUSR1)) counters.bad++;
    } else return 2;
  }
}
