#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* Of the library: how often it was called, and by which version. */
EXPORT unsigned long lib_count(void);
EXPORT const char *lib_version(void);

/* Of the static library that both programs have inside. */
const char *parse_version(unsigned long number);

/* Prints a line fifty times a second. */
void print_forever(const char *(*line)(void));
