/* The hole: failures are counted, but whoever guesses long enough gets in. */
#include "../sessions.h"

struct session sessions[SESSIONS];
volatile int rules = 1;

int log_in(int session, int password_is_right) {
  if (!password_is_right) sessions[session].failures++;
  return password_is_right;
}
