/* What a program needs before main and besides Windows' C library (ucrtbase.dll). */
#include <stdarg.h>
#include <stdint.h>

typedef struct _iobuf FILE;
typedef struct locale *locale_t;

int main(int, char **);
int _configure_narrow_argv(int mode);
int *__p___argc(void);
char ***__p___argv(void);
void exit(int) __attribute__((noreturn));
int __stdio_common_vfprintf(uint64_t options, FILE *, const char *format, locale_t, va_list);

/* A compiler for mingw calls it at the start of main, for constructors, which these programs have none of. */
void __main(void) {}

void start(void) {
  _configure_narrow_argv(1);
  exit(main(*__p___argc(), *__p___argv()));
}

int fprintf(FILE *file, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = __stdio_common_vfprintf(0, file, format, 0, arguments);
  va_end(arguments);
  return written;
}
