int shortened(int length);
int count(void);
