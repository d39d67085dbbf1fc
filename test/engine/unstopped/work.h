/* What the workers call, and what a patch of work.c changes. */
int add(int n);
int scale(int n);
