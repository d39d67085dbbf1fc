/* Programs that are awkward to stop or to map into.
 * usage: edges MODE    prints one JSON line with addresses: counters (u64 rounds, u64 bad), word (u64, aligned), value (a function)
 *   leaderless     the main thread ends, another one counts
 *   leaves         the main thread ends when the word is not 0, another one counts
 *   stackless      a thread waits on a stack whose pages are taken away when the word is not 0: the file that they are of is cut to nothing
 *   storm          eight threads make and join short-lived threads all the time
 *   exec           becomes `sleep 100` when the word is not 0
 *   seccomp-errno, seccomp-kill, seccomp-allow   memfd_create fails, kills, or is allowed by a filter that looks at it
 *   seccomp-load   openat kills, as where a program has opened all that it needs
 *   no-write-execute   as MemoryDenyWriteExecute of systemd: mmap with write and execute, and mprotect with execute, fail
 *   atomic         counts as bad every value of the word but 0x1111111111111111 and 0x2222222222222222 (and 0 at first) */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile struct { uint64_t rounds, bad; } counters;
static volatile uint64_t word __attribute__((aligned(64)));
extern int probe_value(void);
#ifdef __aarch64__
__asm__(".text\n.balign 16\nprobe_value: mov w0, #1\nret\n");
#else
__asm__(".text\n.balign 16\nprobe_value: movl $1, %eax\nret\nnop\nnop\n");
#endif

static void pause_us(long us) { struct timespec t = {0, us * 1000}; nanosleep(&t, 0); }

static void *count(void *unused) {
  for (;; counters.rounds++) pause_us(1000);
  return unused;
}

static void *brief(void *unused) {
  int value = probe_value();
  if (value != 1 && value != 2) __atomic_add_fetch(&counters.bad, 1, __ATOMIC_RELAXED);
  return unused;
}

enum { ELSEWHERE = 64 << 10 };
static int elsewhere;
static volatile int is_elsewhere;

static void wait_for_good(void) {
  is_elsewhere = 1;
  for (;;) pause();
}

static void *wait_elsewhere(void *unused) {
  static ucontext_t here, there;
  getcontext(&there);
  there.uc_stack.ss_sp = mmap(0, ELSEWHERE, PROT_READ | PROT_WRITE, MAP_SHARED, elsewhere, 0);
  there.uc_stack.ss_size = ELSEWHERE;
  there.uc_link = 0;
  makecontext(&there, wait_for_good, 0);
  swapcontext(&here, &there);
  return unused;
}

static void *breed(void *unused) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  for (;;) {
    pthread_t child;
    if (pthread_create(&child, &small, brief, 0)) { __atomic_add_fetch(&counters.bad, 1, __ATOMIC_RELAXED); continue; }
    pthread_join(child, 0);
    __atomic_add_fetch(&counters.rounds, 1, __ATOMIC_RELAXED);
  }
  return unused;
}

static void filter(struct sock_filter *code, unsigned short length) {
  struct sock_fprog program = {length, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) counters.bad++;
}

static void filter_call(unsigned call, unsigned answer) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, answer),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  filter(code, sizeof code / sizeof *code);
}

static void filter_write_execute(void) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 4, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  filter(code, sizeof code / sizeof *code);
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  pthread_t thread;
  if (!strcmp(mode, "seccomp-errno")) filter_call(SYS_memfd_create, SECCOMP_RET_ERRNO | EPERM);
  if (!strcmp(mode, "seccomp-kill")) filter_call(SYS_memfd_create, SECCOMP_RET_KILL_PROCESS);
  if (!strcmp(mode, "seccomp-allow")) filter_call(SYS_memfd_create, SECCOMP_RET_LOG);
  if (!strcmp(mode, "seccomp-load")) filter_call(SYS_openat, SECCOMP_RET_KILL_PROCESS);
  if (!strcmp(mode, "no-write-execute")) filter_write_execute();
  printf("{\"counters\":\"0x%lx\",\"word\":\"0x%lx\",\"value\":\"0x%lx\"}\n", (unsigned long)&counters, (unsigned long)&word, (unsigned long)probe_value);
  fflush(stdout);
  if (!strcmp(mode, "leaderless")) {
    if (pthread_create(&thread, 0, count, 0)) return 1;
    pthread_exit(0);
  }
  if (!strcmp(mode, "leaves")) {
    if (pthread_create(&thread, 0, count, 0)) return 1;
    while (!word) pause_us(1000);
    pthread_exit(0);
  }
  if (!strcmp(mode, "stackless")) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    elsewhere = memfd_create("elsewhere", 0);
    if (elsewhere < 0 || ftruncate(elsewhere, ELSEWHERE) || pthread_create(&thread, &small, wait_elsewhere, 0)) return 1;
    while (!is_elsewhere) pause_us(1000);
  }
  if (!strcmp(mode, "storm"))
    for (int i = 0; i < 8; i++) if (pthread_create(&thread, 0, breed, 0)) return 1;
  if (!strcmp(mode, "atomic"))
    for (;; counters.rounds++) for (int i = 0; i < 1000; i++) {
      uint64_t seen = word;
      if (seen && seen != 0x1111111111111111 && seen != 0x2222222222222222) counters.bad++;
    }
  for (;;) {
    pause_us(1000);
    if (strcmp(mode, "storm")) counters.rounds++;
    if (!strcmp(mode, "stackless") && word && ftruncate(elsewhere, 0)) return 1;
    if (!strcmp(mode, "exec") && word) execlp("sleep", "sleep", "100", (char *)0);
  }
}
