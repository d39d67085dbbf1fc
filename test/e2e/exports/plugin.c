// A plug-in that uses the program's function by its symbol, asks for it by name, or does without.
#include <dlfcn.h>

#if defined(LINKED)
extern int scale(int value);
int work(void) { return scale(2); }
#elif defined(ASKED)
int work(void) {
  int (*scale)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, "scale");
  return scale(2);
}
#elif defined(MERGED)
// The linker keeps the one text in the end of the other.
const char *volatile longer = "upscale";
int work(void) {
  if (longer == 0) return 0;
  int (*scale)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, "scale");
  return scale(2);
}
#elif defined(TABLE)
// clang makes a table of distances of it.
static const char *const names[] = {"upscale", "scale", "downscale", "rescale"};
__attribute__((noinline)) static const char *named(unsigned i) { return names[i & 3]; }
int work(void) {
  static volatile unsigned one = 1;
  int (*scale)(int) = (int (*)(int))dlsym(RTLD_DEFAULT, named(one));
  return scale(2);
}
#elif defined(LONGER)
// Holds longer names with that ending: as a text, and as a symbol.
int upscale(int value) { return value * 3; }
const char *volatile longer = "downscale";
int work(void) { return longer == 0 ? 0 : upscale(2); }
#else
int scale_is_not_it = 6;
int work(void) { return scale_is_not_it; }
#endif
