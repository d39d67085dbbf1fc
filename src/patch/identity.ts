/** What makes a base image that one and no other. The same facts are found in a file and in a process' memory. */
export interface BaseIdentity {
  /**
   * PE: FileHeader.TimeDateStamp. ELF: the first 4 bytes of the build id, little-endian; of the text hash where there is
   * no build id.
   */
  readonly timeDateStamp: number
  /** PE: OptionalHeader.CheckSum. ELF: the next 4 bytes. */
  readonly checkSum: number
  /** ELF: NT_GNU_BUILD_ID, lower-case hexadecimal. PE: the CodeView GUID and age in symbol-server form, where there is one. */
  readonly buildId: string | undefined
  /**
   * SHA-256 of what cannot change in memory short of patching: the bytes of the image's executable sections in file order as
   * the file has them, 32 bytes. Where the loader relocates within text, those fields count as zero.
   */
  readonly textSha256: Uint8Array
}
