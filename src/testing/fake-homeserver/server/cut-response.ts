import { ConnectionDropped } from './connection-dropped.js';

/** A response whose connection ends in the middle of the body. */
export class CutResponse extends Response {
  /** The first half of the body, which is sent. */
  readonly half: Uint8Array;

  constructor(whole: Uint8Array, { status, headers }: Response) {
    const half = whole.subarray(0, whole.byteLength >> 1);
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(half),
      pull: (controller) => controller.error(new ConnectionDropped().toFetchError()),
    });
    super(body, { status, headers });
    this.headers.set('content-length', `${whole.byteLength}`);
    this.half = half;
  }
}
