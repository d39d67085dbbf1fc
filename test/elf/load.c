/* Loads a shared object as any program would, and says what the loader and the unwinder make of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
extern void *_Unwind_Find_FDE(void *, void *);

int main(int count, char **arguments) {
  void *handle = dlopen(arguments[1], RTLD_NOW);
  if (!handle) {
    puts(dlerror());
    return 1;
  }
  for (int i = 2; i < count; i++) {
    void *address = dlsym(handle, arguments[i]);
    Dl_info info = {0};
    long bases[3];
    if (address) dladdr(address, &info);
    printf("%s is %s%s\n", arguments[i], info.dli_sname ? info.dli_sname : "nothing",
           address && _Unwind_Find_FDE(address, bases) ? ", with unwind data" : "");
  }
  const char **texts = dlsym(handle, "texts");
  if (texts) printf("%s %s %s\n", texts[0], texts[1], texts[2]);
  return 0;
}
