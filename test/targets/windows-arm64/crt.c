/* What a program needs before main and besides Windows' C library (ucrtbase.dll). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct _iobuf FILE;
typedef struct locale *locale_t;

int main(int, char **);
int _configure_narrow_argv(int mode);
int *__p___argc(void);
char ***__p___argv(void);
void exit(int) __attribute__((noreturn));
FILE *__acrt_iob_func(unsigned index);
int __stdio_common_vsprintf(uint64_t options, char *into, size_t capacity, const char *format, locale_t, va_list);
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

int printf(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = __stdio_common_vfprintf(0, __acrt_iob_func(1), format, 0, arguments);
  va_end(arguments);
  return written;
}

/* corecrt_stdio_config.h: what C says of the result and of the end, which is not what Windows' older functions do. */
#define STANDARD_SNPRINTF_BEHAVIOR 2

int snprintf(char *into, size_t capacity, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = __stdio_common_vsprintf(STANDARD_SNPRINTF_BEHAVIOR, into, capacity, format, 0, arguments);
  va_end(arguments);
  return written;
}
