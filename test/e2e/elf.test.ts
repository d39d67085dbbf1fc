import { targets } from '../../demo/target.ts'
import { describeFlow } from './flow.ts'

describeFlow(targets.elf)
