/** `action`, at the first call alone: a number or name that is given back twice may be somebody else's by then. */
export function once(action: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    action()
  }
}
