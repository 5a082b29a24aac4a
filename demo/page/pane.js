import { Api } from './api.js';
import { Conversation } from './conversation.js';
import { avatar, element, hueOf, icon, iconButton, setAttribute, setChildren, setText } from './dom.js';
import { Feed } from './feed.js';
import { formatShort } from './format.js';
import { textOf } from './message-row.js';
import { Timeline } from './timeline.js';

const RELOAD_ROOMS_MS = 150;

/** One user of the page: rooms, the open room, and the stream of the user's events. */
export class Pane {
  element;
  api;
  userId;
  #person;
  #people;
  #rooms = [];
  #roomItems = new Map();
  #timelines = new Map();
  #typing = new Map();
  #conversation;
  #reloadTimer;
  #isOpen = false;
  #connection = 'starting';
  #list = element('ul', { class: 'rooms' });
  #status = element('span', { class: 'status', role: 'status' });
  #empty = element('div', { class: 'conversation empty' }, element('p', {}, 'Choose a room'));
  #newRoom;
  #onUnread;

  /** @param onUnread - called when the number of unread messages has changed */
  constructor(person, people, onUnread) {
    this.#person = person;
    this.#people = people;
    this.#onUnread = onUnread;
    this.userId = person.userId;
    this.api = new Api(person.key);
    this.#newRoom = this.#makeNewRoomForm();
    const { name, key, userId } = person;
    const who = element('div', { class: 'who' }, element('h2', {}, name), this.#status);
    const plus = iconButton('plus', 'New room', () => this.#toggleNewRoom());
    const head = element('header', { class: 'me' }, avatar(name, this.hueOfUser(userId)), who, plus);
    const nav = element('nav', { 'aria-label': `Rooms of ${name}` }, this.#list);
    nav.addEventListener('keydown', (event) => this.#moveInRooms(event));
    const side = element('div', { class: 'side' }, head, this.#newRoom, nav);
    this.element = element(
      'section',
      { class: 'pane', 'aria-label': name, 'data-user': key, id: `pane-${key}` },
      side,
      this.#empty,
    );
    this.#showStatus();
    const feed = new Feed(
      (lastEventId) => this.api.eventsUrl(lastEventId),
      (type, data) => this.#receive(type, data),
      (isOpen) => {
        this.#isOpen = isOpen;
        this.#showStatus();
      },
    );
    feed.open();
    for (const type of ['visibilitychange', 'focus']) {
      globalThis.addEventListener(type, () => this.#conversation?.markRead(), true);
    }
  }

  get name() {
    return this.#person.name;
  }

  get unread() {
    return this.#rooms.reduce((sum, { unread }) => sum + unread, 0);
  }

  nameOf(userId) {
    return this.#people.find((person) => person.userId === userId)?.name ?? userId.replace(/^@([^:]+):.*$/, '$1');
  }

  hueOfUser(userId) {
    const position = this.#people.findIndex((person) => person.userId === userId);
    return position >= 0 ? position : hueOf(userId);
  }

  describeMembers() {
    return this.#people.map(({ userId }) => (userId === this.userId ? 'You' : this.nameOf(userId))).join(', ');
  }

  /** Called when the pane has become visible. */
  shown() {
    this.#conversation?.scrollToEnd();
  }

  closeRoom() {
    const { roomId } = this.#conversation ?? {};
    this.#conversation = undefined;
    delete this.element.dataset.open;
    this.element.lastElementChild.replaceWith(this.#empty);
    this.#remember(undefined);
    this.#renderRooms();
    this.#roomItems.get(roomId)?.button.focus();
  }

  openRoom(roomId, { focus = true } = {}) {
    const room = this.#rooms.find((other) => other.roomId === roomId);
    if (!room || room.membership !== 'join') return;
    const timeline = this.#timelines.get(roomId) ?? new Timeline();
    this.#timelines.set(roomId, timeline);
    this.#conversation = new Conversation(this, room, timeline);
    timeline.firstUnread = undefined;
    this.element.lastElementChild.replaceWith(this.#conversation.element);
    this.element.dataset.open = '';
    this.#remember(roomId);
    this.#renderRooms();
    this.#conversation.showTyping(this.#typing.get(roomId) ?? []);
    this.#conversation.render();
    if (timeline.isStale) void this.#loadTimeline(roomId, room.unread);
    else this.#markFirstUnread(timeline, room.unread);
    if (focus) this.#conversation.focus();
  }

  #receive(type, data) {
    const timeline = this.#timelines.get(data.roomId);
    switch (type) {
      case 'hello':
        if (data.userId !== this.userId) return location.reload(); // another run of the server
        this.#connection = data.connection;
        this.#showStatus();
        if (!data.isResumed) void this.#reloadAll();
        return;
      case 'connection':
        this.#connection = data.state;
        return this.#showStatus();
      case 'message':
        return this.#receiveMessage(data);
      case 'edit':
        timeline?.edit(data);
        this.#updateLast(
          data.roomId,
          ({ eventId, sender }) => eventId === data.edits && sender === data.sender && { text: data.text },
        );
        break;
      case 'redaction':
        timeline?.redact(data.redacts);
        this.#updateLast(data.roomId, ({ eventId }) => eventId === data.redacts && { kind: 'deleted', text: '' });
        break;
      case 'reaction':
        timeline?.react(data);
        break;
      case 'receipt':
        timeline?.setReceipt(data.sender, data.eventId);
        break;
      case 'typing':
        this.#typing.set(data.roomId, data.userIds);
        if (this.#conversation?.roomId === data.roomId) this.#conversation.showTyping(data.userIds);
        return;
      case 'unread':
        this.#updateRoom(data.roomId, { unread: data.unread });
        return;
      case 'rooms':
        return this.#reloadRoomsSoon();
    }
    if (this.#conversation?.roomId === data.roomId) this.#conversation.render();
  }

  #receiveMessage({ roomId, message }) {
    const isOpen = this.#conversation?.roomId === roomId;
    const isNew = this.#timelines.get(roomId)?.add(message) ?? true;
    if (!this.#rooms.some((room) => room.roomId === roomId)) this.#reloadRoomsSoon();
    this.#updateRoom(roomId, { lastMessage: message });
    if (!isOpen) return;
    if (isNew && message.sender !== this.userId) this.#conversation.announce(message);
    this.#conversation.render();
  }

  /** Everything anew: the stream does not continue where the last one has ended. */
  async #reloadAll() {
    this.#typing.clear();
    this.#conversation?.showTyping([]);
    for (const timeline of this.#timelines.values()) timeline.markStale();
    await this.#reloadRooms();
    const { roomId } = this.#conversation ?? {};
    if (roomId !== undefined && this.#timelines.has(roomId)) await this.#loadTimeline(roomId, 0);
  }

  #reloadRoomsSoon() {
    clearTimeout(this.#reloadTimer);
    this.#reloadTimer = setTimeout(() => void this.#reloadRooms(), RELOAD_ROOMS_MS);
  }

  async #reloadRooms() {
    clearTimeout(this.#reloadTimer);
    try {
      ({ rooms: this.#rooms } = await this.api.rooms());
    } catch (error) {
      if (error.status !== 404) this.#reloadTimer = setTimeout(() => void this.#reloadRooms(), 2_000);
      return;
    }
    const open = this.#rooms.find(({ roomId }) => roomId === this.#conversation?.roomId);
    if (open) this.#conversation.setRoom(open);
    else this.#openFirst();
    this.#renderRooms();
  }

  /** The room that was open before a reload of the page, else the first one. */
  #openFirst() {
    const joined = this.#rooms.filter(({ membership }) => membership === 'join');
    const known = sessionStorage.getItem(this.#storageKey);
    const room = joined.find(({ roomId }) => roomId === known) ?? (this.#isWide() ? joined[0] : undefined);
    if (room) this.openRoom(room.roomId, { focus: false });
    else if (this.#conversation) this.closeRoom();
  }

  #isWide() {
    return this.element.clientWidth > 520;
  }

  get #storageKey() {
    return `open room of ${this.#person.key}`;
  }

  #remember(roomId) {
    if (roomId === undefined) sessionStorage.removeItem(this.#storageKey);
    else sessionStorage.setItem(this.#storageKey, roomId);
  }

  async #loadTimeline(roomId, unread) {
    const timeline = this.#timelines.get(roomId);
    try {
      const page = await this.api.page(roomId);
      timeline.takeNewest(page);
      this.#markFirstUnread(timeline, unread);
    } catch (error) {
      this.#conversation?.complain(error);
      if (error.status === 0 || error.status >= 500 || error.status === 429) {
        setTimeout(() => {
          if (timeline.isStale && this.#timelines.get(roomId) === timeline) void this.#loadTimeline(roomId, unread);
        }, 2_000);
      }
    }
    if (this.#conversation?.roomId !== roomId) return;
    this.#conversation.render();
  }

  #markFirstUnread(timeline, unread) {
    const others = timeline.messages.filter(({ sender }) => sender !== this.userId);
    timeline.firstUnread = unread > 0 ? others.at(-unread)?.eventId : undefined;
    this.#conversation?.render();
  }

  #updateRoom(roomId, change) {
    const room = this.#rooms.find((other) => other.roomId === roomId);
    if (!room) return;
    const isNewer = change.lastMessage && change.lastMessage.eventId !== room.lastMessage?.eventId;
    Object.assign(room, change);
    if (isNewer) this.#rooms = [room, ...this.#rooms.filter((other) => other !== room)];
    this.#renderRooms();
  }

  #updateLast(roomId, change) {
    const room = this.#rooms.find((other) => other.roomId === roomId);
    const changed = room?.lastMessage && change(room.lastMessage);
    if (changed) this.#updateRoom(roomId, { lastMessage: { ...room.lastMessage, ...changed } });
  }

  #renderRooms() {
    for (const roomId of this.#roomItems.keys()) {
      if (!this.#rooms.some((room) => room.roomId === roomId)) this.#roomItems.delete(roomId);
    }
    setChildren(
      this.#list,
      this.#rooms.map((room) => this.#roomItem(room)),
    );
    this.#onUnread();
  }

  #roomItem(room) {
    const { roomId, name, membership, unread, lastMessage } = room;
    const made = this.#roomItems.get(roomId) ?? this.#makeRoomItem(roomId, name);
    this.#roomItems.set(roomId, made);
    const isOpen = this.#conversation?.roomId === roomId;
    const isInvite = membership === 'invite';
    setText(made.name, name);
    setText(made.time, lastMessage ? formatShort(lastMessage.timestamp) : '');
    const sender = lastMessage && (lastMessage.sender === this.userId ? 'You: ' : '');
    setText(
      made.preview,
      isInvite ? 'Invitation' : lastMessage ? `${sender}${textOf(lastMessage)}`.slice(0, 120) : 'No messages yet',
    );
    setText(made.badge, unread > 99 ? '99+' : String(unread));
    made.badge.hidden = !unread;
    setText(made.hint, unread ? `, ${unread} unread` : '');
    setText(made.action, isInvite ? 'Join' : '');
    made.action.hidden = !isInvite;
    made.button.classList.toggle('has-unread', unread > 0);
    setAttribute(made.button, 'aria-current', isOpen ? 'true' : undefined);
    return made.item;
  }

  #makeRoomItem(roomId, roomName) {
    const parts = {
      name: element('span', { class: 'room-name', dir: 'auto' }),
      time: element('span', { class: 'room-time' }),
      preview: element('span', { class: 'room-preview', dir: 'auto' }),
      badge: element('span', { class: 'badge', 'aria-hidden': 'true', hidden: true }),
      hint: element('span', { class: 'visually-hidden' }),
      action: element('span', { class: 'join', hidden: true }),
    };
    const { name, time, preview, badge, hint, action } = parts;
    const lines = element('span', { class: 'room-lines' }, element('span', { class: 'room-line' }, name, time));
    lines.append(element('span', { class: 'room-line' }, preview, hint, badge, action));
    const click = () => this.#choose(roomId);
    const button = element('button', { type: 'button', class: 'room', click }, avatar(roomName, hueOf(roomId)), lines);
    return { ...parts, button, item: element('li', {}, button) };
  }

  async #choose(roomId) {
    const room = this.#rooms.find((other) => other.roomId === roomId);
    if (room?.membership !== 'invite') return this.openRoom(roomId);
    try {
      await this.api.join(roomId);
      await this.#reloadRooms();
      this.openRoom(roomId);
    } catch (error) {
      setText(this.#status, error.message);
    }
  }

  #moveInRooms(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    const buttons = [...this.#list.querySelectorAll('button')];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    event.preventDefault();
    next?.focus();
  }

  #makeNewRoomForm() {
    const name = element('input', {
      type: 'text',
      'aria-label': 'Name of the new room',
      placeholder: 'Name of the new room',
      maxlength: 100,
      required: true,
    });
    const form = element(
      'form',
      { class: 'new-room', hidden: true },
      name,
      element('button', {}, icon('plus'), 'Create'),
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      try {
        const { roomId } = await this.api.createRoom(name.value);
        name.value = '';
        form.hidden = true;
        await this.#reloadRooms();
        this.openRoom(roomId);
      } catch (error) {
        setText(this.#status, error.message);
      }
    });
    form.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') form.hidden = true;
    });
    return form;
  }

  #toggleNewRoom() {
    this.#newRoom.hidden = !this.#newRoom.hidden;
    if (!this.#newRoom.hidden) this.#newRoom.querySelector('input').focus();
  }

  #showStatus() {
    const state = this.#isOpen ? this.#connection : 'offline';
    const texts = { live: 'Online', offline: 'Connecting …', failed: 'Reconnecting …', loggedOut: 'Logged out' };
    setText(this.#status, texts[state] ?? 'Reconnecting …');
    setAttribute(this.#status, 'data-state', state);
  }
}
