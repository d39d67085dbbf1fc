/* An object of the program: the old build has no place in it to count in. */
struct object {
    int id;
};

/* How often the object has been touched since the program could know; -1 while it cannot. */
long touch(struct object *object);

const char *version(void);
