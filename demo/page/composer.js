import { element, icon, iconButton, setText } from './dom.js';
import { textOf } from './message-row.js';

const TYPING_RENEWAL_MS = 5_000;
const TYPING_END_MS = 6_000;
const MAX_HEIGHT = 160;

/**
 * The form for messages. Enter sends, Shift+Enter begins a new line, Escape ends a reply or an edit, and arrow up in an
 * empty box edits the last message.
 *
 * `actions`: send(text, { replyTo, edits }), sendFiles(files), editLast(), typing(isTyping), nameOf(userId)
 */
export class Composer {
  form;
  #actions;
  #box;
  #context = element('div', { class: 'context', hidden: true });
  #contextText = element('span', { dir: 'auto' });
  /** A reply or an edit that is being written: { kind, message }. */
  #target;
  /** The text before the edit began. */
  #draft = '';
  #typingSince = 0;
  #typingTimer;

  constructor(label, actions) {
    this.#actions = actions;
    this.#box = element('textarea', {
      rows: 1,
      'aria-label': label,
      placeholder: label,
      maxlength: 20_000,
      dir: 'auto',
      enterkeyhint: 'send',
      input: () => this.#changed(),
      keydown: (event) => this.#keyDown(event),
      blur: () => this.#endTyping(),
      paste: (event) => this.#paste(event),
    });
    const picker = element('input', { type: 'file', multiple: true, hidden: true, 'aria-label': 'Files' });
    picker.addEventListener('change', () => {
      actions.sendFiles([...picker.files]);
      picker.value = '';
    });
    const cancel = iconButton('close', 'Cancel', () => this.#cancel());
    this.#context.append(this.#contextText, cancel);
    const send = element('button', { class: 'send', 'aria-label': 'Send', title: 'Send' }, icon('send'));
    const attach = iconButton('attach', 'Send a file', () => picker.click());
    const row = element('div', { class: 'row' }, attach, picker, this.#box, send);
    this.form = element('form', { class: 'composer' }, this.#context, row);
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  focus() {
    this.#box.focus();
  }

  reply(message) {
    this.#begin({ kind: 'reply', message });
  }

  edit(message) {
    if (this.#target?.kind !== 'edit') this.#draft = this.#box.value;
    this.#begin({ kind: 'edit', message });
    this.#box.value = message.text;
    this.#resize();
  }

  #begin(target) {
    if (this.#target?.kind === 'edit' && target.kind === 'reply') this.#box.value = this.#draft;
    this.#target = target;
    const { kind, message } = target;
    const what = textOf(message).slice(0, 120);
    setText(
      this.#contextText,
      kind === 'edit' ? `Editing: ${what}` : `Reply to ${this.#actions.nameOf(message.sender)}: ${what}`,
    );
    this.#context.hidden = false;
    this.#box.focus();
  }

  #cancel() {
    if (this.#target?.kind === 'edit') this.#box.value = this.#draft;
    this.#target = undefined;
    this.#context.hidden = true;
    this.#resize();
    this.#box.focus();
  }

  #submit() {
    const text = this.#box.value.trim();
    const { kind, message } = this.#target ?? {};
    if (text === '') return;
    this.#typingSince = 0; // sending ends the notification
    clearTimeout(this.#typingTimer);
    if (kind !== 'edit') this.#box.value = '';
    this.#cancel();
    if (kind === 'edit' && text === message.text) return;
    this.#actions.send(text, {
      ...(kind === 'reply' && { replyTo: message.eventId }),
      ...(kind === 'edit' && { edits: message.eventId }),
    });
  }

  #keyDown(event) {
    if (event.isComposing) return; // Enter chooses a word of an input method
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && this.#target) {
      event.stopPropagation();
      this.#cancel();
    } else if (event.key === 'ArrowUp' && this.#box.value === '' && !this.#target) {
      event.preventDefault();
      this.#actions.editLast();
    }
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.#actions.sendFiles(files);
  }

  #changed() {
    this.#resize();
    if (this.#box.value.trim() === '') return this.#endTyping();
    clearTimeout(this.#typingTimer);
    this.#typingTimer = setTimeout(() => this.#endTyping(), TYPING_END_MS);
    if (Date.now() - this.#typingSince < TYPING_RENEWAL_MS) return;
    this.#typingSince = Date.now();
    this.#actions.typing(true);
  }

  #endTyping() {
    clearTimeout(this.#typingTimer);
    if (this.#typingSince === 0) return;
    this.#typingSince = 0;
    this.#actions.typing(false);
  }

  #resize() {
    this.#box.style.height = 'auto';
    this.#box.style.height = `${Math.min(this.#box.scrollHeight + 2, MAX_HEIGHT)}px`;
  }
}
