/* What the workers call, and what a patch of slow.c changes. Each takes a while: `pause_ms` is in another file. */
void pause_ms(long ms);
int slow(long ms);
int sorts(long ms);
int allocates(long ms);
int faults(long ms);
