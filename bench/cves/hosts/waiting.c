/* LD_PRELOADed: a program that is mapped, linked and initialised, and whose main waits instead of working. Any program can so be a live
 * process that maps its base image, whatever arguments and configuration it would ask for.
 *   gcc -O2 -shared -fPIC waiting.c -o waiting.so */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

static int wait_for_the_end(int argc, char **argv, char **environment) {
  (void)argc, (void)argv, (void)environment;
  printf("ready\n");
  fflush(stdout);
  for (;;) pause();
}

typedef int (*start_function)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

int __libc_start_main(int (*main_function)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
  (void)main_function;
  start_function real = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");
  return real(wait_for_the_end, argc, argv, init, fini, rtld_fini, stack_end);
}
