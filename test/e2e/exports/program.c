// A program that exports all it has (-rdynamic) and loads the plug-in that it is told. The fix gives `scale` another parameter.
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

static volatile int factor = 3;

#ifdef AFTER
__attribute__((noinline)) int scale(int value, int limit) { return value > limit ? limit : value * factor; }
#else
__attribute__((noinline)) int scale(int value) { return value * factor; }
#endif

__attribute__((noinline)) int answer(int value) {
#ifdef AFTER
  return scale(value, 4) + 1;
#else
  return scale(value) + 1;
#endif
}

int main(int argc, char **argv) {
  void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  int (*work)(void) = plugin == NULL ? NULL : (int (*)(void))dlsym(plugin, "work");
  if (argc > 1 && work == NULL) return 1;
  for (;;) {
    printf("%d %d\n", answer(5), work == NULL ? 0 : work());
    fflush(stdout);
    usleep(20000);
  }
}
