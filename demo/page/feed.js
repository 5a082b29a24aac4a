/** The server sends something every 15 seconds. After a longer silence, the connection is opened again. */
const SILENCE_MS = 40_000;
const MIN_WAIT_MS = 500;
const MAX_WAIT_MS = 10_000;
/** A page in the background gives its connection back: a browser opens only six to one server. */
const HIDDEN_MS = 20_000;

const types = [
  'hello',
  'message',
  'edit',
  'reaction',
  'redaction',
  'typing',
  'receipt',
  'rooms',
  'unread',
  'connection',
];

/** A stream of events that is opened again, after its last event, whenever it breaks. */
export class Feed {
  #url;
  #onEvent;
  #onStateChange;
  #source;
  #lastEventId;
  #timer;
  #watchdog;
  #wait = MIN_WAIT_MS;

  /**
   * @param {(lastEventId: string | undefined) => string} url
   * @param {(type: string, data: any) => void} onEvent
   * @param {(isOpen: boolean) => void} onStateChange
   */
  constructor(url, onEvent, onStateChange) {
    this.#url = url;
    this.#onEvent = onEvent;
    this.#onStateChange = onStateChange;
    document.addEventListener('visibilitychange', () => this.#visibilityChanged());
    globalThis.addEventListener('online', () => this.#retryNow());
  }

  open() {
    this.#close();
    const source = new EventSource(this.#url(this.#lastEventId));
    this.#source = source;
    this.#watch();
    for (const type of types) {
      source.addEventListener(type, (event) => {
        if (source !== this.#source) return;
        this.#watch();
        this.#lastEventId = event.lastEventId;
        if (type === 'hello') {
          this.#wait = MIN_WAIT_MS;
          this.#onStateChange(true);
        }
        this.#onEvent(type, JSON.parse(event.data));
      });
    }
    source.addEventListener('ping', () => this.#watch());
    source.addEventListener('error', () => {
      if (source === this.#source) this.#broken();
    });
  }

  /** The browser would repeat some failures only, and from the first URL. */
  #broken() {
    this.#close();
    this.#onStateChange(false);
    this.#timer = setTimeout(() => this.open(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT_MS);
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#source?.close();
    this.#source = undefined;
  }

  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#broken(), SILENCE_MS);
  }

  #retryNow() {
    if (!this.#source && document.visibilityState === 'visible') this.open();
  }

  #visibilityChanged() {
    if (document.visibilityState === 'visible') return this.#source ? clearTimeout(this.#timer) : this.open();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#close(), HIDDEN_MS);
  }
}
