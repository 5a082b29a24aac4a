import { Composer } from './composer.js';
import { element, icon, iconButton, setAttribute, setChildren, setText } from './dom.js';
import { formatDay, isSameDay } from './format.js';
import { MessageRow, textOf } from './message-row.js';

const AT_BOTTOM_PIXELS = 40;
const LOAD_OLDER_PIXELS = 300;
const GROUP_MS = 5 * 60_000;
const MAX_ANNOUNCED = 5;

/** The open room of a user: its messages and the form. `user` is the pane, which has the room's timeline. */
export class Conversation {
  element;
  roomId;
  #user;
  #timeline;
  #composer;
  #rows = new Map();
  #days = new Map();
  #activeRow;
  #isLoadingOlder = false;
  /** At the last scrolling. */
  #wasAtEnd = true;
  #isRendering = false;
  #lastRead;
  #sends = Promise.resolve();
  #title = element('h3', { dir: 'auto' });
  #members = element('p', { class: 'subtitle' });
  #list = element('ol', { class: 'messages' });
  #older = element('button', { type: 'button', class: 'older', click: () => this.#loadOlder() }, 'Load older messages');
  #beginning = element('p', { class: 'beginning', hidden: true }, 'This is the beginning of the conversation');
  #divider = element('li', { class: 'divider new', role: 'separator' }, 'New');
  #typing = element('p', { class: 'typing', role: 'status' });
  #announcer = element('div', { class: 'visually-hidden', role: 'log', 'aria-live': 'polite' });
  #problem = element('p', { class: 'problem', role: 'alert', hidden: true });
  #jump = element(
    'button',
    { type: 'button', class: 'jump', hidden: true, click: () => this.scrollToEnd() },
    icon('down'),
    'New messages',
  );
  #scroller;

  constructor(user, room, timeline) {
    this.#user = user;
    this.roomId = room.roomId;
    this.#timeline = timeline;
    this.#scroller = element(
      'div',
      {
        class: 'scroller',
        tabindex: '0',
        role: 'region',
        scroll: () => this.#scrolled(),
        keydown: (event) => this.#keyDown(event),
      },
      this.#older,
      this.#beginning,
      this.#list,
    );
    this.#scroller.addEventListener('focusin', (event) => this.#focused(event));
    this.#composer = new Composer('Write a message', {
      send: (text, relation) => this.#send(text, relation),
      sendFiles: (files) => files.forEach((file) => this.#sendFile(file)),
      editLast: () => this.#editLast(),
      typing: (isTyping) => void user.api.sendTyping(this.roomId, isTyping).catch(() => {}),
      nameOf: (userId) => user.nameOf(userId),
    });
    const back = iconButton('back', 'Back to the rooms', () => user.closeRoom(), { class: 'icon-button back' });
    const head = element('header', {}, back, element('div', {}, this.#title, this.#members));
    this.element = element(
      'section',
      { class: 'conversation' },
      head,
      element('div', { class: 'view' }, this.#scroller, this.#jump),
      this.#typing,
      this.#problem,
      this.#composer.form,
      this.#announcer,
    );
    // When the form grows, the newest messages stay in view.
    new ResizeObserver(() => {
      if (this.#wasAtEnd) this.scrollToEnd();
    }).observe(this.#scroller);
    this.#acceptDrops();
    this.setRoom(room);
  }

  setRoom({ name }) {
    setText(this.#title, name);
    setAttribute(this.element, 'aria-label', `Conversation ${name}`);
    setAttribute(this.#scroller, 'aria-label', `Messages in ${name}`);
    setText(this.#members, this.#user.describeMembers(this.roomId));
  }

  focus() {
    this.#composer.focus();
  }

  /** Shows a problem for some seconds. */
  complain(error) {
    setText(this.#problem, error.message);
    this.#problem.hidden = false;
    clearTimeout(this.problemTimer);
    this.problemTimer = setTimeout(() => (this.#problem.hidden = true), 8_000);
  }

  showTyping(userIds) {
    const names = userIds.map((userId) => this.#user.nameOf(userId));
    setText(this.#typing, names.length > 0 ? `${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} typing …` : '');
  }

  /** Tells screen readers of a message that has come. */
  announce(message) {
    const line = element('p', {}, `${this.#user.nameOf(message.sender)}: ${textOf(message)}`);
    this.#announcer.append(line);
    if (this.#announcer.childElementCount > MAX_ANNOUNCED) this.#announcer.firstElementChild.remove();
  }

  /** Shows the timeline as it is now, once, after everything that happens at the same time. */
  render() {
    if (this.#isRendering) return;
    this.#isRendering = true;
    queueMicrotask(() => {
      this.#isRendering = false;
      if (this.element.isConnected) this.#renderNow();
    });
  }

  scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#scrolled();
  }

  /** Marks the newest message as read, if the user can see it. */
  markRead() {
    const { newest, isLoaded } = this.#timeline;
    const isSeen = this.#isAtEnd() && document.visibilityState === 'visible' && this.element.offsetParent !== null;
    if (!isLoaded || !newest || !isSeen || newest.eventId === this.#lastRead) return;
    this.#lastRead = newest.eventId;
    this.#user.api.markRead(this.roomId, newest.eventId).catch(() => (this.#lastRead = undefined));
  }

  #renderNow() {
    const scroller = this.#scroller;
    const wasAtEnd = this.#isAtEnd();
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    const firstBefore = this.#list.querySelector('.message')?.dataset.eventId;
    const { isLoaded, end } = this.#timeline;
    setAttribute(scroller, 'aria-busy', String(!isLoaded));
    this.#older.hidden = !isLoaded || end === undefined;
    this.#beginning.hidden = !isLoaded || end !== undefined;
    setChildren(this.#list, this.#items());
    // The Tab key leads to the newest message, until another one is chosen.
    if (!this.#list.contains(document.activeElement)) this.#activate([...this.#rows.values()].at(-1));
    const hasOlder = firstBefore !== undefined && this.#list.querySelector('.message')?.dataset.eventId !== firstBefore;
    if (wasAtEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (hasOlder) scroller.scrollTop = scroller.scrollHeight - fromEnd; // what is read stays where it is
    this.#scrolled();
  }

  #items() {
    const { messages, pending, firstUnread } = this.#timeline;
    const readers = this.#timeline.readersByMessage(this.#user.userId);
    const items = [];
    const rows = new Map();
    let previous;
    for (const message of [...messages, ...pending]) {
      const isNewDay = !previous || !isSameDay(previous.timestamp, message.timestamp);
      if (isNewDay) items.push(this.#dayOf(message));
      if (message.eventId !== undefined && message.eventId === firstUnread) items.push(this.#divider);
      const key = message.txnId ?? message.eventId;
      const row = this.#rows.get(key) ?? this.#newRow();
      rows.set(key, row);
      const isClose = previous?.sender === message.sender && message.timestamp - previous.timestamp < GROUP_MS;
      row.update({
        message,
        isOwn: message.sender === this.#user.userId,
        isFirst: isNewDay || !isClose || message.eventId === firstUnread,
        senderName: this.#user.nameOf(message.sender),
        hue: this.#user.hueOfUser(message.sender),
        quoted: message.replyTo && this.#timeline.get(message.replyTo),
        reactions: message.eventId ? this.#timeline.reactionsTo(message.eventId) : new Map(),
        readers: (message.sender === this.#user.userId && readers.get(message.eventId)) || [],
        fileUrl: message.eventId && this.#user.api.fileUrl(this.roomId, message.eventId),
        nameOf: (userId) => this.#user.nameOf(userId),
        ownId: this.#user.userId,
      });
      items.push(row.item);
      previous = message;
    }
    this.#rows = rows;
    return items;
  }

  #newRow() {
    const row = new MessageRow({
      react: (message, key) => this.#toggleReaction(message, key),
      reply: (message) => this.#composer.reply(message),
      edit: (message) => this.#composer.edit(message),
      remove: (message) => this.#try(this.#user.api.redact(this.roomId, message.eventId)),
      retry: (message) => this.#post(message),
      goTo: (eventId) => this.#goTo(eventId),
    });
    row.setActive(false);
    return row;
  }

  #dayOf({ timestamp }) {
    const label = formatDay(timestamp);
    const day = this.#days.get(label) ?? element('li', { class: 'divider', role: 'separator' }, label);
    this.#days.set(label, day);
    return day;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < AT_BOTTOM_PIXELS;
  }

  #scrolled() {
    const isAtEnd = this.#isAtEnd();
    this.#wasAtEnd = isAtEnd;
    const { newest } = this.#timeline;
    this.#jump.hidden = isAtEnd || !newest || newest.eventId === this.#lastRead || newest.sender === this.#user.userId;
    if (isAtEnd) this.markRead();
    if (this.#scroller.scrollTop < LOAD_OLDER_PIXELS && !this.#problemWithOlder) void this.#loadOlder();
  }

  #problemWithOlder = false;

  async #loadOlder() {
    const { end, isLoaded, isStale } = this.#timeline;
    if (!isLoaded || isStale || end === undefined || this.#isLoadingOlder || !this.element.isConnected) return;
    this.#isLoadingOlder = true;
    setText(this.#older, 'Loading …');
    try {
      const page = await this.#user.api.page(this.roomId, end);
      if (this.#timeline.end === end) this.#timeline.takeOlder(page);
      this.#problemWithOlder = false;
    } catch (error) {
      this.#problemWithOlder = true; // the button tries again, scrolling does not
      this.complain(error);
    }
    this.#isLoadingOlder = false;
    setText(this.#older, 'Load older messages');
    this.render();
  }

  #send(text, { replyTo, edits }) {
    const txnId = crypto.randomUUID();
    if (edits) {
      const sent = this.#user.api.sendMessage(this.roomId, { text, edits, txnId });
      void this.#try(sent);
      return;
    }
    this.#post({ txnId, kind: 'text', text, replyTo, sender: this.#user.userId, timestamp: Date.now() });
  }

  async #sendFile(file) {
    const txnId = crypto.randomUUID();
    const { width, height } = await sizeOf(file);
    const shown = { name: file.name, size: file.size };
    this.#post({
      txnId,
      kind: 'file',
      text: file.name,
      file: shown,
      upload: { file, width, height, txnId },
      sender: this.#user.userId,
      timestamp: Date.now(),
    });
  }

  /** Shows the message at once, and sends it after those that were sent before. */
  #post(message) {
    const timeline = this.#timeline;
    message.status = 'sending';
    if (!timeline.pending.includes(message)) timeline.pending.push(message);
    this.scrollToEndAfterRender();
    const { api } = this.#user;
    const { txnId, text, replyTo, upload } = message;
    const send = () =>
      upload ? api.sendFile(this.roomId, upload) : api.sendMessage(this.roomId, { text, txnId, replyTo });
    this.#sends = this.#sends.then(send).then(
      ({ eventId }) => {
        message.eventId = eventId;
        if (timeline.get(eventId)) timeline.pending = timeline.pending.filter((other) => other !== message);
      },
      (error) => {
        message.status = 'failed';
        message.problem = error.message;
      },
    );
    void this.#sends.then(() => this.render());
  }

  scrollToEndAfterRender() {
    this.#renderNow();
    this.scrollToEnd();
  }

  #toggleReaction({ eventId }, key) {
    const own = this.#timeline.reactionsTo(eventId).get(key)?.get(this.#user.userId);
    const { api } = this.#user;
    void this.#try(own ? api.redact(this.roomId, own) : api.sendReaction(this.roomId, eventId, key));
  }

  async #try(request) {
    try {
      await request;
    } catch (error) {
      this.complain(error);
    }
  }

  #editLast() {
    const last = this.#timeline.messages.findLast(
      ({ sender, kind }) => sender === this.#user.userId && kind === 'text',
    );
    if (last) this.#composer.edit(last);
  }

  #goTo(eventId) {
    const row = [...this.#rows.values()].find(({ item }) => item.dataset.eventId === eventId);
    if (!row) return;
    row.item.scrollIntoView({ block: 'center' });
    this.#activate(row);
    row.item.focus({ preventScroll: true });
  }

  #focused({ target }) {
    const item = target.closest('.message');
    if (item) this.#activate([...this.#rows.values()].find((row) => row.item === item));
  }

  /** The Tab key reaches one message of the list; the arrow keys choose it. */
  #activate(row) {
    if (row === this.#activeRow) return;
    this.#activeRow?.setActive(false);
    row?.setActive(true);
    this.#activeRow = row;
  }

  #keyDown(event) {
    if (event.key === 'Escape') return this.#composer.focus();
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const isOnMessage = event.target.classList.contains('message');
    if (!step || (!isOnMessage && event.target !== this.#scroller)) return;
    const items = [...this.#list.querySelectorAll('.message')];
    const position = isOnMessage ? items.indexOf(event.target) + step : items.length - 1;
    if (!items[position]) return;
    event.preventDefault();
    items[position].focus();
  }

  #acceptDrops() {
    const { element: target } = this;
    target.addEventListener('dragover', (event) => {
      if (event.dataTransfer?.types.includes('Files')) event.preventDefault();
    });
    target.addEventListener('drop', (event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) void this.#sendFile(file);
    });
  }
}

/** The size of an image in pixels, so that others see its place before it has loaded. */
async function sizeOf(file) {
  if (!file.type.startsWith('image/')) return {};
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    bitmap.close();
    return { width, height };
  } catch {
    return {};
  }
}
