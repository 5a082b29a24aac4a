const MAX_RECENT = 1_000;

/**
 * The messages of one room, in the order of the room, with their reactions and how far others have read. Pages and live
 * events may come in any order, and more than once.
 */
export class Timeline {
  /** Oldest first. */
  messages = [];
  /** Messages of this page that are not in the room yet. */
  pending = [];
  /** The cursor of older messages; undefined: there are none. */
  end;
  isLoaded = false;
  /** Whether events may have been missed, so that the newest page has to be loaded again. */
  isStale = true;
  /** The first message that was unread when the room was opened. */
  firstUnread;
  /** Number of messages before those that have come since the timeline became stale. */
  #staleLength = 0;
  #byId = new Map();
  /** By message: sender and key of each reaction, by its event id. */
  #reactions = new Map();
  /** The message of a reaction or edit, by its event id. */
  #targets = new Map();
  #receipts = new Map();
  /** Edits and deletions that have come while a page was being loaded. */
  #recentEdits = new Map();
  #recentRedactions = new Set();

  get newest() {
    return this.messages.at(-1);
  }

  get(eventId) {
    return this.#byId.get(eventId);
  }

  /** Adds a message that has just come. Returns whether it is new. */
  add(message) {
    this.pending = this.pending.filter(({ txnId, eventId }) => txnId !== message.txnId && eventId !== message.eventId);
    if (this.#byId.has(message.eventId)) return false;
    this.messages.push(this.#adopt(message));
    return true;
  }

  edit({ eventId, edits, sender, text }) {
    this.#targets.set(eventId, edits);
    remember(this.#recentEdits, editKey(edits, sender), { sender, text });
    const message = this.#byId.get(edits);
    if (message) applyEdit(message, { sender, text });
  }

  redact(eventId) {
    remember(this.#recentRedactions, eventId);
    const message = this.#byId.get(eventId);
    if (message) markDeleted(message);
    const target = this.#targets.get(eventId);
    if (target !== undefined) this.#reactions.get(target)?.delete(eventId);
  }

  react({ eventId, sender, relatesTo, key }) {
    if (this.#recentRedactions.has(eventId)) return;
    const reactions = this.#reactions.get(relatesTo) ?? new Map();
    reactions.set(eventId, { sender, key });
    this.#reactions.set(relatesTo, reactions);
    this.#targets.set(eventId, relatesTo);
  }

  setReceipt(userId, eventId) {
    this.#receipts.set(userId, eventId);
  }

  /** Takes the newest page. Stays: what has come since it was asked for. */
  takeNewest({ messages, reactions, receipts, end }) {
    const inPage = new Set(messages.map(({ eventId }) => eventId));
    const newer = this.messages.slice(this.#staleLength).filter(({ eventId }) => !inPage.has(eventId));
    const page = messages.toReversed().map((message) => this.#adopt(message));
    this.messages = [...page, ...newer];
    this.#byId = new Map(this.messages.map((message) => [message.eventId, message]));
    this.pending = this.pending.filter(
      ({ txnId, eventId }) => !this.#byId.has(eventId) && !page.some((message) => message.txnId === txnId),
    );
    for (const [userId, eventId] of receipts) if (!this.#receipts.has(userId)) this.setReceipt(userId, eventId);
    for (const reaction of reactions) this.react(reaction);
    this.end = end;
    this.isLoaded = true;
    this.isStale = false;
  }

  /** Takes the page before the oldest message. */
  takeOlder({ messages, reactions, end }) {
    const page = messages.toReversed().filter(({ eventId }) => !this.#byId.has(eventId));
    this.messages = [...page.map((message) => this.#adopt(message)), ...this.messages];
    for (const reaction of reactions) this.react(reaction);
    this.end = end;
  }

  /** Events may have been missed, also edits and deletions: only what comes from now on is known to be complete. */
  markStale() {
    this.isStale = true;
    this.#staleLength = this.messages.length;
    this.#reactions.clear();
    this.#recentEdits.clear();
    this.#recentRedactions.clear();
    this.#receipts.clear();
  }

  /** The reactions to a message, by their key: who has reacted, and with which event. */
  reactionsTo(eventId) {
    const byKey = new Map();
    for (const [reactionId, { sender, key }] of this.#reactions.get(eventId) ?? []) {
      const senders = byKey.get(key) ?? new Map();
      senders.set(sender, reactionId);
      byKey.set(key, senders);
    }
    return byKey;
  }

  /** The other users who have read, by the message that each has read last. */
  readersByMessage(ownId) {
    const lastRead = new Map();
    for (const [index, { sender }] of this.messages.entries()) lastRead.set(sender, index); // who writes has read
    const positions = new Map(this.messages.map(({ eventId }, index) => [eventId, index]));
    for (const [userId, eventId] of this.#receipts) {
      const position = positions.get(eventId) ?? positions.get(this.#targets.get(eventId)) ?? -1;
      if (position > (lastRead.get(userId) ?? -1)) lastRead.set(userId, position);
    }
    const readers = new Map();
    for (const [userId, index] of lastRead) {
      if (userId === ownId) continue;
      const { eventId } = this.messages[index];
      readers.set(eventId, [...(readers.get(eventId) ?? []), userId]);
    }
    return readers;
  }

  /** The message, as the newest version of it is known. */
  #adopt(message) {
    const known = this.#byId.get(message.eventId);
    const adopted = known ? Object.assign(known, message) : { ...message };
    const edit = this.#recentEdits.get(editKey(message.eventId, message.sender));
    if (edit) applyEdit(adopted, edit);
    if (this.#recentRedactions.has(message.eventId)) markDeleted(adopted);
    this.#byId.set(message.eventId, adopted);
    return adopted;
  }
}

/** An edit by another sender, which counts for nothing, must not take the place of one by the message's sender. */
function editKey(eventId, sender) {
  return `${eventId} ${sender}`;
}

function applyEdit(message, { sender, text }) {
  if (message.sender !== sender || message.kind === 'deleted') return;
  message.text = text;
  message.isEdited = true;
}

function markDeleted(message) {
  message.kind = 'deleted';
  message.text = '';
  delete message.file;
  delete message.replyTo;
}

/** Adds to a Map or a Set, and forgets the oldest entry of a full one. */
function remember(collection, key, value) {
  collection.delete(key);
  if (collection instanceof Map) collection.set(key, value);
  else collection.add(key);
  if (collection.size > MAX_RECENT) collection.delete(collection.keys().next().value);
}
