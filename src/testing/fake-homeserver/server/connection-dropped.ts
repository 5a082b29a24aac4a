/** The homeserver ends the connection without a response. Each transport turns it into the error that clients get. */
export class ConnectionDropped extends Error {
  override readonly name = 'ConnectionDropped';

  constructor() {
    super('the homeserver dropped the connection');
  }

  /** The error that the global fetch rejects with when a connection ends. */
  toFetchError(): TypeError {
    const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read', errno: -104 });
    return new TypeError('fetch failed', { cause });
  }
}
