/* Loads one library and waits: a live process that maps it.
 * usage: library FILE
 *   gcc -O2 library.c -o library                    x86_64-w64-mingw32-gcc -O2 library.c -o library.exe */
#include <stdio.h>

#ifdef _WIN32
#include <windows.h>
static int load(const char *file) {
  if (LoadLibraryExA(file, 0, LOAD_WITH_ALTERED_SEARCH_PATH)) return 1;
  fprintf(stderr, "%s: error %lu\n", file, GetLastError());
  return 0;
}
static void wait_a_while(void) { Sleep(50); }
#else
#include <dlfcn.h>
#include <unistd.h>
static int load(const char *file) {
  if (dlopen(file, RTLD_LAZY | RTLD_GLOBAL)) return 1;
  fprintf(stderr, "%s\n", dlerror());
  return 0;
}
static void wait_a_while(void) { usleep(50000); }
#endif

int main(int argc, char **argv) {
  if (argc < 2 || !load(argv[1])) return 1;
  printf("ready\n");
  fflush(stdout);
  for (;;) wait_a_while();
}
