/** The protocol of demo/server/common/protocol.h, the client's side. */

export const Operation = { heartbeat: 1, record: 2, digest: 3, status: 4 } as const
export const Status = { ok: 0, refused: 1, unknown: 2 } as const

const FRAME_LENGTH = 2
const FRAME_HEADER = 1 + 4

export interface Reply {
  readonly id: number
  readonly status: number
  readonly body: Buffer
}

export function requestFrame(operation: number, id: number, body: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_LENGTH + FRAME_HEADER + body.length)
  frame.writeUInt16BE(FRAME_HEADER + body.length, 0)
  frame.writeUInt8(operation, FRAME_LENGTH)
  frame.writeUInt32BE(id, FRAME_LENGTH + 1)
  frame.set(body, FRAME_LENGTH + FRAME_HEADER)
  return frame
}

/** `claimed` is what the request says of the payload's length: honest clients say the truth. */
export function heartbeatBody(style: number, payload: Uint8Array, claimed = payload.length): Buffer {
  const body = Buffer.alloc(3 + payload.length)
  body.writeUInt8(style, 0)
  body.writeUInt16BE(claimed, 1)
  body.set(payload, 3)
  return body
}

export function recordBody(name: string, ignoreCase: boolean, offset: number, length: number): Buffer {
  const body = Buffer.alloc(6 + name.length)
  body.writeUInt8(name.length, 0)
  body.writeUInt8(ignoreCase ? 1 : 0, 1)
  body.writeUInt16BE(offset, 2)
  body.writeUInt16BE(length, 4)
  body.write(name, 6, 'latin1')
  return body
}

export const digestBody = (kind: number, bytes: Uint8Array): Buffer => Buffer.concat([Buffer.of(kind), bytes])

/** Cuts a stream of bytes into replies. */
export class ReplyReader {
  private rest: Buffer = Buffer.alloc(0)

  push(chunk: Buffer): Reply[] {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    const replies: Reply[] = []
    let at = 0
    while (this.rest.length - at >= FRAME_LENGTH) {
      const length = this.rest.readUInt16BE(at)
      if (this.rest.length - at < FRAME_LENGTH + length) break
      const frame = this.rest.subarray(at + FRAME_LENGTH, at + FRAME_LENGTH + length)
      replies.push({ status: frame.readUInt8(0), id: frame.readUInt32BE(1), body: frame.subarray(FRAME_HEADER) })
      at += FRAME_LENGTH + length
    }
    this.rest = this.rest.subarray(at)
    return replies
  }
}
