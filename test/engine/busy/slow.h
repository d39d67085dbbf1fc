/* What the workers call, and what a patch of slow.c changes. Each takes a while: `pause_ms` is in another file. */
void pause_ms(long ms);
/* Calls `function` with `argument`; without unwind data (unmarked.S). */
int call_unmarked(int (*function)(long), long argument);
int slow(long ms);
int rare(long ms);
int sorts(long ms);
int unmarked(long ms);
int raises(long ms);
