/** Archives as ar.h and winnt.h (IMAGE_ARCHIVE_MEMBER_HEADER) have them: text fields, padded with blanks. */
import { chars, struct } from '../struct.ts'

export const ARMAG = '!<arch>\n'
/** Thin archives name files instead of holding them. */
export const ARMAG_THIN = '!<thin>\n'
export const ARFMAG = '`\n'

export const ar_hdr = struct('ar_hdr', {
  ar_name: chars(16),
  ar_date: chars(12),
  ar_uid: chars(6),
  ar_gid: chars(6),
  ar_mode: chars(8),
  ar_size: chars(10),
  ar_fmag: chars(2),
})
