/** Opens process PID as user UID; prints the error as JSON. usage: open-as UID PID */
import { HotpatchError } from '../../src/errors.ts'
import { linuxBackend } from '../../src/process/linux/index.ts'

process.setgid?.(Number(process.argv[2]))
process.setuid?.(Number(process.argv[2]))
try {
  linuxBackend.open(Number(process.argv[3])).close()
  process.stdout.write('"opened"')
} catch (error) {
  if (!(error instanceof HotpatchError)) throw error
  process.stdout.write(JSON.stringify({ code: error.code, exit: error.exit, detail: error.detail, facts: error.facts }))
}
