/* A program whose fix calls functions that it did not import before: of libraries that it uses, and of one that it has not loaded. */
#include <stdio.h>

#ifdef _WIN32
#include <windows.h>
/* Without dllimport: called through a jump, as any function of another object. */
int StrToIntA(const char *);
static void rest(void) { Sleep(20); }
#else
#include <string.h>
#include <unistd.h>
unsigned long compressBound(unsigned long);
static void rest(void) { usleep(20000); }
#endif

#ifdef WITH_FIX
#ifdef _WIN32
static int (*const table[])(const char *) = {StrToIntA};

static int measured(void) {
  HANDLE heap = GetProcessHeap();
  void *two = HeapAlloc(heap, 0, 2);
  int size = (int)HeapSize(heap, 0, two);
  HeapFree(heap, 0, two);
  return StrToIntA("1000") + table[0]("13") + lstrlenA("abc") + size;
}
#else
/* strcspn is an indirect function in glibc; optind is a variable. */
static size_t (*const table[])(const char *, const char *) = {strcspn};

static int measured(void) { return (int)compressBound(1000) + (int)table[0]("abcdef", "e") + optind; }
#endif
#endif

__attribute__((noinline)) static void report(int count) {
#ifdef WITH_FIX
  printf("new %d %d\n", count, measured());
#else
  printf("old %d %d\n", count, 0);
#endif
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int count = 1;; count++) {
    report(count);
    rest();
  }
}
