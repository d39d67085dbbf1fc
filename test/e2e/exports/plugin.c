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
#else
int scale_is_not_it = 6;
int work(void) { return scale_is_not_it; }
#endif
