#include "../object.h"

#include "hotpatch-shadow.h"

/* What the structure has no room for. */
struct more {
    struct object *of;
    long touched;
};
enum { MORE = 1 };

static int make_more(void *object, void *data, void *with) {
    struct more *more = data;
    (void)with;
    more->of = object;
    return 0;
}

__attribute__((noinline)) const char *version(void) { return "first"; }

long touch(struct object *object) {
    struct more *more = hotpatch_shadow_get_or_attach(object, MORE, sizeof *more, make_more, NULL);
    if (!more || more->of != object) return -1;
    return __atomic_add_fetch(&more->touched, 1, __ATOMIC_RELAXED);
}

struct patch_info {
    unsigned version, operation, reserved;
};

unsigned __PatchMainCallout__(const struct patch_info *info, unsigned size) {
    if (size >= sizeof *info && info->operation == 2) hotpatch_shadow_detach_all(MORE, NULL);
    return 0;
}
