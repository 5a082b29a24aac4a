/** The homeserver ends the connection instead of answering. Each transport makes of it what its client would see. */
export class ConnectionDropped extends Error {
  override readonly name = 'ConnectionDropped';

  constructor() {
    super('the homeserver dropped the connection');
  }

  /** The error with which the global fetch rejects when that happens. */
  toFetchError(): TypeError {
    const cause = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read', errno: -104 });
    return new TypeError('fetch failed', { cause });
  }
}
