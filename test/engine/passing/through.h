/* What the workers go through, and what a patch of through.cpp changes. Each returns its number, in the fixed build 1000 more. */
#include <atomic>
#include <csetjmp>

struct Error {
  int code;
};

/* Destroyed, it counts itself: whoever passes must not leave it out. */
struct Witness {
  ~Witness();
};

extern std::atomic<long> witnesses;
extern volatile int zero;

/* Of main.cpp: do not return, or not always. */
void throws(int code);
void jumps(jmp_buf &target);
void sleeps();

int passed_by_exception(int code);
int catches(int code);
int rethrows(int code);
int passed_by_jump(jmp_buf &target, bool jump);
int passed_by_cancellation();
int interrupted(int rounds);
