/* What the server of server.c keeps of those who are logged in. Its layout is that of the running program: no fix may change it. */
struct session {
  int user;
  int failures;
};

#define SESSIONS 8
extern struct session sessions[SESSIONS];
/* Which rules the table follows. */
extern volatile int rules;

/* Tries to log in; 1: let in. */
int log_in(int session, int password_is_right);
