int part(int value);
int main(int argc, char **argv) { return part(argc * 50) < 0; }
