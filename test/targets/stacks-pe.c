/* Code of every kind for walks at each instruction on Windows (test/process/stacks-pe.test.ts).
 * usage: stacks-pe FILE    writes {"go":"0x…","done":"0x…"} to FILE, waits for `go`, runs `scenario` up to `done`
 *   x86_64-w64-mingw32-gcc -O2 stacks-pe.c -o stacks-pe.exe */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif
volatile int sink;
volatile double number = 1.5;

NOINLINE int leaf(int n) { return n * 3 + sink; }

NOINLINE int deep(int n) {
  volatile char room[64];
  room[0] = (char)n;
  int result = n == 0 ? leaf(1) : deep(n - 1) + room[0];
  sink = result;
  return result;
}

/* Its end is a jump. */
NOINLINE int tail(int n) {
  sink += leaf(n);
  return deep(n & 3);
}

NOINLINE int large(int n) {
  volatile char room[20000];
  room[n] = 1;
  room[19999] = 2;
  return deep(1) + room[n];
}

NOINLINE int with_alloca(int n) {
  char *room = __builtin_alloca((size_t)n);
  memset(room, n, (size_t)n);
  return deep(1) + room[0];
}

NOINLINE int many_registers(int a, int b, int c, int d) {
  int e = deep(a & 1), f = deep(b & 1), g = deep(c & 1), h = deep(d & 1);
  return e * a + f * b + g * c + h * d + leaf(e + f) * leaf(g + h) + e * f * g * h;
}

NOINLINE double vector_registers(double a, double b, double c) {
  double x = a * deep(0), y = b * deep(1), z = c * deep(0), w = a * b * deep(1);
  return x * y + z * w + a + b + c + leaf((int)x);
}

NOINLINE int variadic(int n, ...) {
  va_list list;
  va_start(list, n);
  int sum = 0;
  for (int i = 0; i < n; i++) sum += leaf(va_arg(list, int));
  va_end(list);
  return sum;
}

NOINLINE int shrink_wrapped(int n) {
  if (n < 10) return n;
  int a = deep(1), b = leaf(a), c = leaf(b);
  return a * b + c * leaf(a + b);
}

static int compare(const void *a, const void *b) {
  deep(1);
  return *(const int *)a - *(const int *)b;
}

NOINLINE static void sorts(void) {
  int numbers[] = {4, 2, 3, 1, 9, 7};
  qsort(numbers, 6, sizeof *numbers, compare);
  sink += numbers[0];
}

NOINLINE void scenario(void) {
  char text[40] = "text";
  sink += tail(2) + large(3) + with_alloca(100) + many_registers(1, 2, 3, 4) + (int)vector_registers(1, 2, number);
  sink += variadic(3, 1, 2, 3) + shrink_wrapped(3) + shrink_wrapped(11) + (int)strlen(text) + strcmp(text, "other");
  sorts();
  sink += atoi("42");
}

NOINLINE void done(void) { __asm__ volatile("" ::: "memory"); }

volatile uint64_t go;
NOINLINE static void wait_for_go(void) {
  while (!go) __asm__ volatile("pause");
}

int main(int argc, char **argv) {
  FILE *out = argc > 1 ? fopen(argv[1], "w") : 0;
  if (!out) return 1;
  fprintf(out, "{\"go\":\"0x%llx\",\"done\":\"0x%llx\"}\n", (unsigned long long)(uintptr_t)&go, (unsigned long long)(uintptr_t)done);
  fclose(out);
  wait_for_go();
  scenario();
  done();
  for (;;) Sleep(1000);
}
