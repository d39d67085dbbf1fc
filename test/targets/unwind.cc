// Throws a C++ exception through whatever code `hook` points to, when it is set, ten times a second; counts those that were caught.
// Prints one JSON line with addresses: hook, thrower (throws an int), caught (u64).
#include <cstdint>
#include <cstdio>
#include <poll.h>

typedef void (*Thrower)();
static void (*volatile hook)(Thrower);
static volatile uint64_t caught;
__attribute__((noinline)) static void thrower() { throw 42; }

int main() {
  std::printf("{\"hook\":\"0x%lx\",\"thrower\":\"0x%lx\",\"caught\":\"0x%lx\"}\n", (unsigned long)&hook, (unsigned long)&thrower, (unsigned long)&caught);
  std::fflush(stdout);
  try { thrower(); } catch (int) {}
  for (;;) {
    poll(nullptr, 0, 10);
    if (!hook) continue;
    try { hook(thrower); } catch (int value) { if (value == 42) caught = caught + 1; }
  }
}
