/*
 * Shadow data: new state for old objects, for patches whose fix needs a member more than the running program's structures have.
 *
 * Data are attached to an object by its address and a number that the author chooses, so that several fixes can have data of their own on
 * one object. Compile hotpatch-shadow.c into the fixed build; it travels with the patch. What was attached stays attached when a later
 * patch takes this one's place, as long as that one brings this file, too.
 *
 * All functions may be called from any thread, but not from signal handlers, and neither from `make` nor from `drop`. They use calloc and free
 * of the program; another allocator can be named with -DHOTPATCH_SHADOW_CALLOC=... and -DHOTPATCH_SHADOW_FREE=....
 */
#ifndef HOTPATCH_SHADOW_H
#define HOTPATCH_SHADOW_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Fills new data, which are zero, before any other thread can see them. `with` is what was handed over with it. 0: well; anything else: the
 * data are given back, and nothing is attached. Other threads may wait meanwhile: so it must be short.
 */
typedef int hotpatch_shadow_make(void *object, void *data, void *with);

/* Told before data are given back. Other threads may wait meanwhile. */
typedef void hotpatch_shadow_drop(void *object, void *data);

/* The data `id` of the object; NULL: there are none. They stay where they are until they are detached. */
void *hotpatch_shadow_get(const void *object, unsigned long id);

/* New data of `size` bytes, zero or as `make` (if it is not NULL) leaves them. NULL: there are some already, there is no memory, or `make` refused. */
void *hotpatch_shadow_attach(void *object, unsigned long id, size_t size, hotpatch_shadow_make *make, void *with);

/* The data that are there, else new ones. NULL: there is no memory, or `make` refused. */
void *hotpatch_shadow_get_or_attach(void *object, unsigned long id, size_t size, hotpatch_shadow_make *make, void *with);

/* Takes the data from the object and gives their memory back: before the object itself is freed, for another may get its address. No data: no harm. */
void hotpatch_shadow_detach(void *object, unsigned long id, hotpatch_shadow_drop *drop);

/* Takes the data `id` from all objects: in the patch's callback, when the patch is undone. */
void hotpatch_shadow_detach_all(unsigned long id, hotpatch_shadow_drop *drop);

#ifdef __cplusplus
}
#endif
#endif
