/* The fix: three failures lock a session. It needs one more field, which the structure has no room for: so it lies in a table beside it,
 * and what is already there is brought over before the fix takes effect. */
#include "../sessions.h"

struct session sessions[SESSIONS];
volatile int rules = 1;

/* New, so it comes with the patch. Entry i belongs to sessions[i]. */
static struct more {
  int locked;
} more[SESSIONS];

int log_in(int session, int password_is_right) {
  if (!password_is_right && ++sessions[session].failures >= 3) more[session].locked = 1;
  return password_is_right && !more[session].locked;
}

struct patch_info {
  unsigned version;
  unsigned operation;
  unsigned reserved;
};

/* Called by hotpatch, on a thread of the program. 0: all is well. */
unsigned __PatchMainCallout__(const struct patch_info *info, unsigned size) {
  if (size < sizeof *info || info->version != 1) return 1;
  switch (info->operation) {
    case 0: /* Before the switch: the old code runs on all threads, the new code on none. Anything but 0 cancels the patch. */
      if (rules != 1) return 17;
      for (int i = 0; i < SESSIONS; i++) more[i].locked = sessions[i].failures >= 3;
      return 0;
    case 1: /* After it: what failed between the two. */
      for (int i = 0; i < SESSIONS; i++)
        if (sessions[i].failures >= 3) more[i].locked = 1;
      return 0;
    case 2: /* Undone: the old code runs again, and knows nothing of locks. */
      for (int i = 0; i < SESSIONS; i++)
        if (more[i].locked) sessions[i].failures = 3;
      return 0;
    default:
      return 0;
  }
}
