import { avatar, element, icon, iconButton, setAttribute, setChildren, setText } from './dom.js';
import { formatSize, formatTime, toIsoTime } from './format.js';

const quickReactions = ['👍', '❤️', '😂', '🎉', '😮', '🙏'];
const maxShownPixels = 320;

/**
 * One message as an item of the list. Its parts stay when it changes, so that the keyboard's focus stays, too.
 *
 * `actions`: react(message, key), reply(message), edit(message), remove(message), retry(pending), goTo(eventId)
 */
export class MessageRow {
  item;
  #actions;
  #message;
  #parts;
  #chips = new Map();

  constructor(actions) {
    this.#actions = actions;
    const toolbar = this.#makeToolbar();
    this.#parts = {
      face: element('span', { class: 'face' }),
      name: element('span', { class: 'name' }),
      quote: element('button', { type: 'button', class: 'quote', click: () => this.#goToQuoted() }),
      text: element('p', { class: 'text', dir: 'auto' }),
      attachment: element('div', { class: 'attachment' }),
      time: element('time', { class: 'time' }),
      mark: element('span', { class: 'mark' }),
      failure: element('button', { type: 'button', class: 'retry', click: () => this.#actions.retry(this.#message) }),
      chips: element('ul', { class: 'chips', 'aria-label': 'Reactions' }),
      readers: element('p', { class: 'readers' }),
      toolbar,
    };
    const { face, name, quote, text, attachment, time, mark, failure, chips, readers } = this.#parts;
    const meta = element('span', { class: 'meta' }, mark, time);
    const bubble = element('div', { class: 'bubble' }, quote, attachment, text, meta);
    const body = element('div', { class: 'body' }, name, element('div', { class: 'line' }, bubble, toolbar), chips);
    body.append(failure, readers);
    this.item = element('li', { class: 'message', tabindex: '-1' }, face, body);
    this.item.addEventListener('keydown', (event) => this.#keyDown(event));
  }

  /**
   * Shows the message. `view`: { message, isOwn, isFirst, senderName, hue, quoted, reactions, readers, fileUrl, nameOf, ownId }
   */
  update(view) {
    const { message, isOwn, isFirst, senderName } = view;
    const { face, name, text, time, mark, failure, toolbar } = this.#parts;
    this.#message = message;
    const { item } = this;
    item.classList.toggle('own', isOwn);
    item.classList.toggle('first', isFirst);
    item.classList.toggle('deleted', message.kind === 'deleted');
    item.classList.toggle('pending', message.status !== undefined);
    item.classList.toggle('is-emoji', isOnlyEmoji(message));
    setAttribute(item, 'data-event-id', message.eventId);
    if (face.childElementCount === 0) face.append(avatar(senderName, view.hue));
    setText(name, senderName);
    setAttribute(name, 'class', isFirst && !isOwn ? 'name' : 'name visually-hidden');
    setText(text, textOf(message));
    text.hidden = message.kind === 'image' || message.kind === 'file';
    setText(time, message.status === undefined ? formatTime(message.timestamp) : '');
    setAttribute(time, 'datetime', message.status === undefined ? toIsoTime(message.timestamp) : undefined);
    setText(mark, markOf(message));
    failure.hidden = message.status !== 'failed';
    setText(failure, `${message.problem ?? 'Not sent.'} Try again`);
    toolbar.hidden = message.status !== undefined || message.kind === 'deleted';
    for (const button of toolbar.querySelectorAll('[data-own]')) {
      button.hidden = !isOwn || (button.dataset.own === 'edit' && message.kind !== 'text');
    }
    this.#showQuote(view);
    this.#showAttachment(view);
    this.#showReactions(view);
    this.#showReaders(view);
  }

  /** Whether the keyboard reaches the buttons of this message. */
  setActive(isActive) {
    setAttribute(this.item, 'tabindex', isActive ? '0' : '-1');
    for (const button of this.item.querySelectorAll('button, a')) button.tabIndex = isActive ? 0 : -1;
  }

  #makeToolbar() {
    const act = (name) => () => this.#actions[name](this.#message);
    const picker = element('div', { class: 'picker', role: 'group', 'aria-label': 'Choose a reaction', hidden: true });
    const opener = iconButton('react', 'React', () => this.#togglePicker(picker.hidden), { 'aria-expanded': 'false' });
    for (const key of quickReactions) {
      const choose = () => {
        this.#togglePicker(false);
        this.#actions.react(this.#message, key);
      };
      picker.append(element('button', { type: 'button', 'aria-label': `React with ${key}`, click: choose }, key));
    }
    return element(
      'div',
      { class: 'toolbar', role: 'group', 'aria-label': 'Actions' },
      opener,
      iconButton('reply', 'Reply', act('reply')),
      iconButton('edit', 'Edit', act('edit'), { 'data-own': 'edit' }),
      iconButton('delete', 'Delete', act('remove'), { 'data-own': 'delete' }),
      picker,
    );
  }

  #togglePicker(isOpen) {
    const { toolbar } = this.#parts;
    const [opener, picker] = [toolbar.firstElementChild, toolbar.querySelector('.picker')];
    const hadFocus = picker.contains(document.activeElement);
    picker.hidden = !isOpen;
    setAttribute(opener, 'aria-expanded', String(isOpen));
    if (isOpen) picker.firstElementChild.focus();
    else if (hadFocus) opener.focus();
  }

  #keyDown(event) {
    if (event.key !== 'Escape' || this.#parts.toolbar.querySelector('.picker').hidden) return;
    event.stopPropagation();
    this.#togglePicker(false);
  }

  #goToQuoted() {
    this.#actions.goTo(this.#message.replyTo);
  }

  #showQuote({ message, quoted, nameOf }) {
    const { quote } = this.#parts;
    quote.hidden = message.replyTo === undefined;
    if (quote.hidden) return;
    const [who, what] = quoted ? [nameOf(quoted.sender), textOf(quoted)] : ['An earlier message', ''];
    if (quote.childElementCount === 0) quote.append(element('b', {}), element('span', { dir: 'auto' }));
    setText(quote.firstElementChild, who);
    setText(quote.lastElementChild, what.slice(0, 200));
    setAttribute(quote, 'aria-label', `Reply to ${who}: ${what.slice(0, 200)}`);
  }

  #showAttachment({ message, fileUrl }) {
    const { attachment } = this.#parts;
    const { kind, file, eventId } = message;
    attachment.hidden = !file;
    const shown = file ? `${kind} ${eventId ?? ''}` : '';
    if (attachment.dataset.shown === shown) return;
    attachment.dataset.shown = shown;
    attachment.replaceChildren();
    if (!file) return;
    if (kind === 'image' && fileUrl) attachment.append(imageOf(file, fileUrl));
    else attachment.append(linkTo(file, fileUrl));
  }

  #showReactions({ message, reactions, nameOf, ownId }) {
    const { chips } = this.#parts;
    const keys = message.kind === 'deleted' ? [] : [...reactions.keys()];
    for (const key of this.#chips.keys()) if (!keys.includes(key)) this.#chips.delete(key);
    for (const key of keys) {
      const senders = reactions.get(key);
      const chip = this.#chips.get(key) ?? this.#makeChip(key);
      this.#chips.set(key, chip);
      const names = [...senders.keys()].map((sender) => (sender === ownId ? 'you' : nameOf(sender))).join(', ');
      setText(chip.count, String(senders.size));
      setAttribute(chip.button, 'aria-pressed', String(senders.has(ownId)));
      setAttribute(chip.button, 'aria-label', `${key}, ${senders.size}: ${names}`);
      setAttribute(chip.button, 'title', names);
    }
    const items = keys.map((key) => this.#chips.get(key).item);
    setChildren(chips, items);
    chips.hidden = keys.length === 0;
  }

  #makeChip(key) {
    const count = element('span', { class: 'count' });
    const click = () => this.#actions.react(this.#message, key);
    const tabindex = this.item.getAttribute('tabindex');
    const button = element(
      'button',
      { type: 'button', class: 'chip', tabindex, click },
      element('span', {}, key),
      count,
    );
    return { item: element('li', {}, button), button, count };
  }

  #showReaders({ readers, nameOf }) {
    setText(this.#parts.readers, readers.length > 0 ? `Seen by ${readers.map(nameOf).join(', ')}` : '');
    this.#parts.readers.hidden = readers.length === 0;
  }
}

/** What a message says, in words. */
export function textOf({ kind, text, file }) {
  if (kind === 'deleted') return 'This message was deleted';
  if (kind === 'unreadable') return 'This message cannot be decrypted';
  if (kind === 'image') return `Image: ${file?.name ?? text}`;
  return kind === 'file' ? `File: ${file?.name ?? text}` : text;
}

function markOf({ status, isEdited, kind }) {
  if (status === 'sending') return 'Sending …';
  if (status === 'failed') return '';
  return isEdited && kind === 'text' ? 'edited' : '';
}

function isOnlyEmoji({ kind, text, replyTo }) {
  return kind === 'text' && replyTo === undefined && /^(?:\p{RGI_Emoji}\s*){1,3}$/v.test(text);
}

function imageOf({ name, width, height }, url) {
  const scale = width && height ? Math.min(1, maxShownPixels / width, maxShownPixels / height) : 1;
  const size = width && height ? { width: Math.ceil(width * scale), height: Math.ceil(height * scale) } : {};
  const image = element('img', { src: url, alt: name, decoding: 'async', ...size });
  const link = element('a', { href: url, target: '_blank', rel: 'noreferrer', class: 'image', tabindex: '-1' }, image);
  // What is no image that the server shows can still be downloaded.
  image.addEventListener('error', () => link.replaceWith(linkTo({ name }, url)));
  return link;
}

function linkTo({ name, size }, url) {
  const label = element('span', { class: 'file-name' }, name);
  const detail = element('span', { class: 'file-size' }, formatSize(size));
  return url
    ? element('a', { href: url, download: name, class: 'file', tabindex: '-1' }, icon('attach'), label, detail)
    : element('span', { class: 'file' }, icon('attach'), label, detail);
}
