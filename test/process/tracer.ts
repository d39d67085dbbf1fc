/** Traces process PID until it is killed. */
import { seize } from '../../src/process/linux/tracing.ts'

const pid = Number(process.argv[2])
seize(pid, pid)
setInterval(() => undefined, 1000)
