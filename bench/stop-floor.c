/* The floor of a stop: attaches to every thread of a process, then, as fast as C can: stops all, reads their registers, writes
 * 8 bytes, lets go. Prints the microseconds of each stop, one a line.
 * usage: stop-floor PID ADDRESS COUNT    ADDRESS: hexadecimal, of 8 bytes that are written with what they hold
 *   gcc -O2 stop-floor.c -o stop-floor */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 8192
static pid_t threads[MAX_THREADS];
static int statuses[MAX_THREADS];
static struct user_regs_struct registers[MAX_THREADS];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int pid = atoi(argv[1]), count = atoi(argv[3]);
  uint64_t address = strtoull(argv[2], 0, 16), word;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  int memory = open(path, O_RDWR);
  if (memory < 0 || pread(memory, &word, 8, address) != 8) return 1;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  while (count-- > 0) {
    int n = 0;
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks)) && n < MAX_THREADS;) {
      pid_t tid = atoi(entry->d_name);
      if (tid > 0 && !ptrace(PTRACE_SEIZE, tid, 0, 0)) threads[n++] = tid;
    }
    if (tasks) closedir(tasks);
    if (!n) return 1;

    double start = now();
    for (int i = 0; i < n; i++) ptrace(PTRACE_INTERRUPT, threads[i], 0, 0);
    for (int i = n - 1; i >= 0; i--) if (waitpid(threads[i], &statuses[i], __WALL) != threads[i] || !WIFSTOPPED(statuses[i])) return 1;
    for (int i = 0; i < n; i++) ptrace(PTRACE_GETREGS, threads[i], 0, &registers[i]);
    if (pwrite(memory, &word, 8, address) != 8) return 1;
    for (int i = 0; i < n; i++) ptrace(PTRACE_DETACH, threads[i], 0, 0);
    printf("%.1f\n", now() - start);
    fflush(stdout);
    usleep(2000);
  }
  return 0;
}
