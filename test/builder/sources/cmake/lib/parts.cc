#include <cassert>
#include <stdexcept>

static int checked(int value) {
  if (value > 100) throw std::out_of_range("too large");
  return value;
}

extern "C" int part(int value) {
  assert(value >= 0);
  try {
    return checked(value);
  } catch (const std::out_of_range &) {
    return -1;
  }
}
