const REQUEST_TIMEOUT_MS = 60_000;

/** A request that the server has refused, or that did not reach it (`status` 0). */
export class ApiError extends Error {
  constructor(status, code) {
    super(explain(status, code));
    this.status = status;
    this.code = code;
  }
}

const explanations = new Map([
  ['FORBIDDEN', 'You may not do that.'],
  ['NOT_FOUND', 'It is not there any more.'],
  ['FILE_TOO_LARGE', 'The file is too large.'],
  ['RATE_LIMITED', 'Too many messages at once. Try again in a moment.'],
]);

function explain(status, code) {
  const known = explanations.get(code);
  if (known) return known;
  if (status === 0) return 'The server cannot be reached.';
  return status >= 500 ? 'The homeserver does not answer.' : `The server refused this (${code}).`;
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), ...options });
  } catch {
    throw new ApiError(0, 'NETWORK');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, body.error ?? 'UNKNOWN');
  return body;
}

const post = (path, body) =>
  send(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

export function loadPeople() {
  return send('/api/people');
}

/** The requests of one user. */
export class Api {
  #base;

  constructor(key) {
    this.#base = `/api/${encodeURIComponent(key)}`;
  }

  eventsUrl(lastEventId) {
    return `${this.#base}/events${lastEventId ? `?lastEventId=${encodeURIComponent(lastEventId)}` : ''}`;
  }

  rooms() {
    return send(`${this.#base}/rooms`);
  }

  createRoom(name) {
    return post(`${this.#base}/rooms`, { name });
  }

  page(roomId, from) {
    return send(`${this.#room(roomId)}/messages${from ? `?from=${encodeURIComponent(from)}` : ''}`);
  }

  sendMessage(roomId, message) {
    return post(`${this.#room(roomId)}/messages`, message);
  }

  sendReaction(roomId, eventId, key) {
    return post(`${this.#room(roomId)}/reactions`, { eventId, key });
  }

  redact(roomId, eventId) {
    return post(`${this.#room(roomId)}/redactions`, { eventId });
  }

  sendTyping(roomId, typing) {
    return post(`${this.#room(roomId)}/typing`, { typing });
  }

  markRead(roomId, eventId) {
    return post(`${this.#room(roomId)}/read`, { eventId });
  }

  join(roomId) {
    return post(`${this.#room(roomId)}/join`, {});
  }

  sendFile(roomId, { file, width, height, txnId }) {
    const size = width && height ? { width, height } : {};
    const query = new URLSearchParams({ txnId, ...size });
    const type = /^[\w.+-]+\/[\w.+-]+$/.test(file.type) ? file.type : 'application/octet-stream';
    const headers = { 'content-type': type, 'x-file-name': encodeURIComponent(file.name.toWellFormed()) };
    const signal = AbortSignal.timeout(10 * REQUEST_TIMEOUT_MS);
    return send(`${this.#room(roomId)}/files?${query}`, { method: 'POST', headers, body: file, signal });
  }

  fileUrl(roomId, eventId) {
    return `${this.#room(roomId)}/files/${encodeURIComponent(eventId)}`;
  }

  #room(roomId) {
    return `${this.#base}/rooms/${encodeURIComponent(roomId)}`;
  }
}
