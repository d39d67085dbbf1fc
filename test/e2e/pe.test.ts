import { describe, test } from 'vitest'
import { targets } from '../../demo/target.ts'
import { wineAvailable } from '../../tools/wine.mjs'
import { describeFlow } from './flow.ts'

const wine = wineAvailable()
if (wine.available) describeFlow(targets.pe)
else describe('Windows, PE, x64', () => test.skip(`needs Wine: ${wine.reason}`))
