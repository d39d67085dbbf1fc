/* Loads a DLL as any program does, and asks Windows for its functions and their unwind information. */
#include <stdio.h>
#include <windows.h>

int main(int argc, char **argv) {
  HMODULE module = LoadLibraryA(argv[1]);
  if (module == NULL) {
    printf("LoadLibrary: error %lu\n", GetLastError());
    return 1;
  }
  printf("table %lx\n", (unsigned long)*(DWORD *)((char *)module + strtoul(argv[2], NULL, 16) + 0xf0));
  for (int i = 3; i < argc; i++) {
    char *function = (char *)GetProcAddress(module, argv[i]);
    DWORD64 base = 0;
    RUNTIME_FUNCTION *record = function == NULL ? NULL : RtlLookupFunctionEntry((DWORD64)function, &base, NULL);
    if (record == NULL) printf("%s -\n", argv[i]);
    else
      printf("%s %lx %lx %lx\n", argv[i], (unsigned long)(function - (char *)module), (unsigned long)record->BeginAddress,
             (unsigned long)record->EndAddress);
  }
  return 0;
}
