/** What a load counts, phase by phase. */

export interface Phase {
  readonly name: string
  /** Answered rightly. */
  answered: number
  /** Answered wrongly, late, or never. */
  failed: number
  /** Connections that ended though nobody asked for it. */
  dropped: number
  /** Of the slowest answer, in milliseconds. */
  slowest: number
  /** What went wrong first, in words. */
  firstFailure: string | undefined
}

export class PhaseCounter {
  readonly phases: Phase[] = []

  /** Everything counted from now on belongs to a phase of this name. */
  begin(name: string): void {
    this.phases.push({ name, answered: 0, failed: 0, dropped: 0, slowest: 0, firstFailure: undefined })
  }

  answered(milliseconds: number): void {
    const phase = this.current()
    phase.answered++
    phase.slowest = Math.max(phase.slowest, milliseconds)
  }

  failed(why: string): void {
    const phase = this.current()
    phase.failed++
    phase.firstFailure ??= why
  }

  dropped(why: string): void {
    const phase = this.current()
    phase.dropped++
    phase.firstFailure ??= why
  }

  private current(): Phase {
    if (this.phases.length === 0) this.begin('start')
    const phase = this.phases.at(-1)
    if (phase === undefined) throw new Error('a phase was begun')
    return phase
  }
}
