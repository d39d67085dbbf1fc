/* What the workers of server.c call. */
const char *greet(void);
int classify(int request);
long bump(void);
int tail(int request);
long tick(void);
