/** Bytes written as hexadecimal digits; in each line, what follows a `;` is its listing. */
export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/;.*$/gm, '').replace(/\s+/g, ''), 'hex'))
