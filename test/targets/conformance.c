/* The program that the conformance suite of process backends looks at; src/process/testing/target.ts says what it offers.
 * usage: conformance [FILE]   prints one JSON line with its addresses to FILE or to the standard output.
 *   gcc -O2 -pthread conformance.c -o conformance
 *   aarch64-linux-gnu-gcc -O2 -pthread conformance.c -o conformance
 *   x86_64-w64-mingw32-gcc -O2 conformance.c -o conformance.exe */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef _WIN32
#include <windows.h>
typedef HANDLE thread_t;
typedef DWORD result_t;
#define ENTRY WINAPI
static int make_thread(thread_t *thread, result_t (ENTRY *function)(void *), uintptr_t argument) {
  return !(*thread = CreateThread(0, 65536, function, (void *)argument, 0, 0));
}
static void join_thread(thread_t thread) { WaitForSingleObject(thread, INFINITE); CloseHandle(thread); }
static void pause_ms(int ms) { Sleep(ms); }
static int my_pid(void) { return (int)GetCurrentProcessId(); }
#define FLAG_REGISTER "%rcx"
#else
#include <pthread.h>
#include <time.h>
#include <unistd.h>
typedef pthread_t thread_t;
typedef void *result_t;
#define ENTRY
static int make_thread(thread_t *thread, result_t (*function)(void *), uintptr_t argument) {
  return pthread_create(thread, 0, function, (void *)argument);
}
static void join_thread(thread_t thread) { pthread_join(thread, 0); }
static void pause_ms(int ms) { struct timespec t = {0, ms * 1000000l}; nanosleep(&t, 0); }
static int my_pid(void) { return getpid(); }
#define FLAG_REGISTER "%rdi"
#endif

/* Of every thread between two rounds. */
#ifndef PAUSE_MS
#define PAUSE_MS 1
#endif

struct control { volatile uint64_t wanted, running, spin, spinning, quit, old, new, bad; };
struct control probe_control = {.wanted = 0};
volatile uint64_t probe_data = 0x1122334455667788;
const char probe_text[] = "hotpatch conformance";
extern int probe_value(void);
extern void probe_spin(volatile uint64_t *flag);
extern char probe_spin_end[];

#ifdef __aarch64__
__asm__(
  ".text\n"
  ".globl probe_value, probe_spin, probe_spin_end\n"
  ".balign 16\n"
  "probe_value: mov w0, #1\n"
  "  ret\n"
  ".balign 16\n"
  "probe_spin: yield\n"
  "  ldr x1, [x0]\n"
  "  cbnz x1, probe_spin\n"
  "  ret\n"
  "probe_spin_end:\n");
#else
__asm__(
  ".text\n"
  ".globl probe_value, probe_spin, probe_spin_end\n"
  ".balign 16\n"
  "probe_value: movl $1, %eax\n"
  "  ret\n"
  "  nop\n"
  "  nop\n"
  ".balign 16\n"
  "probe_spin: pause\n"
  "  cmpq $0, (" FLAG_REGISTER ")\n"
  "  jne probe_spin\n"
  "  ret\n"
  "probe_spin_end:\n");
#endif

#define COUNT(field, by) __atomic_add_fetch(&probe_control.field, by, __ATOMIC_SEQ_CST)
#define MAX_WORKERS 4096
static thread_t workers[MAX_WORKERS];
static volatile uint64_t allowed; /* workers numbered at or above this end themselves */

static result_t ENTRY worker(void *argument) {
  uint64_t number = (uintptr_t)argument;
  COUNT(running, 1);
  while (number < allowed) {
    for (int i = 0; i < 100; i++) {
      int value = probe_value();
      if (value == 1) COUNT(old, 1); else if (value == 2) COUNT(new, 1); else COUNT(bad, 1);
    }
    pause_ms(PAUSE_MS);
  }
  COUNT(running, -1);
  return 0;
}

static result_t ENTRY spinner(void *argument) {
  (void)argument;
  while (!probe_control.quit) {
    if (probe_control.spin) {
      probe_control.spinning = 1;
      probe_spin(&probe_control.spin);
      probe_control.spinning = 0;
    }
    pause_ms(PAUSE_MS);
  }
  return 0;
}

int main(int argc, char **argv) {
  thread_t spin_thread;
  if (make_thread(&spin_thread, spinner, 0)) return 1;
  FILE *out = argc > 1 ? fopen(argv[1], "w") : stdout;
  if (!out) return 1;
#define ADDRESS(name) (unsigned long long)(uintptr_t)(name)
  fprintf(out, "{\"pid\":%d,\"symbols\":{\"control\":\"0x%llx\",\"value\":\"0x%llx\",\"spin\":\"0x%llx\",\"spinEnd\":\"0x%llx\","
    "\"text\":\"0x%llx\",\"data\":\"0x%llx\"}}\n", my_pid(), ADDRESS(&probe_control), ADDRESS(probe_value), ADDRESS(probe_spin),
    ADDRESS(probe_spin_end), ADDRESS(probe_text), ADDRESS(&probe_data));
  fflush(out);
  if (out != stdout) fclose(out);
  uint64_t made = 0;
  while (!probe_control.quit) {
    uint64_t wanted = probe_control.wanted;
    if (wanted > MAX_WORKERS) wanted = MAX_WORKERS;
    if (wanted < made) {
      allowed = wanted;
      for (uint64_t i = wanted; i < made; i++) join_thread(workers[i]);
      made = wanted;
    }
    if (wanted > made) {
      allowed = wanted;
      while (made < wanted && !make_thread(&workers[made], worker, made)) made++;
    }
    pause_ms(PAUSE_MS);
  }
  return 0;
}
