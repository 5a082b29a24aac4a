import { loadPeople } from './api.js';
import { element, setAttribute, setText } from './dom.js';
import { Pane } from './pane.js';

const RETRY_MS = 2_000;

const byId = (id) => document.getElementById(id);

/** Waits for the server, which may still be starting. */
async function loadPeopleWhenThere() {
  for (;;) {
    try {
      return await loadPeople();
    } catch (error) {
      setText(byId('wait'), `${error.message} Trying again …`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

const { people, description } = await loadPeopleWhenThere();
setText(byId('where'), `Two users, on ${description}`);

// `?user=alice` shows one user alone.
const only = new URLSearchParams(location.search).get('user');
const shown = people.some(({ key }) => key === only) ? people.filter(({ key }) => key === only) : people;

const buttons = new Map();
const panes = new Map();

function updateUnread() {
  let total = 0;
  for (const [key, pane] of panes) {
    total += pane.unread;
    const button = buttons.get(key);
    if (!button) continue;
    const badge = button.querySelector('.badge');
    setText(badge, String(pane.unread));
    badge.hidden = pane.unread === 0;
    setAttribute(button, 'aria-label', pane.unread > 0 ? `${pane.name}, ${pane.unread} unread` : undefined);
  }
  document.title = `${total > 0 ? `(${total}) ` : ''}Two users chat · matrix-client-manager`;
}

/** Narrow windows have one of the panes at a time. */
function show(key) {
  byId('panes').dataset.shown = key;
  for (const [other, button] of buttons) setAttribute(button, 'aria-pressed', String(other === key));
  for (const [other, pane] of panes) pane.element.classList.toggle('is-shown', other === key);
  panes.get(key)?.shown();
}

byId('wait').remove();
for (const person of shown) {
  const pane = new Pane(person, people, updateUnread);
  panes.set(person.key, pane);
  byId('panes').append(pane.element);
  if (shown.length === 1) continue;
  const badge = element('span', { class: 'badge', hidden: true });
  const button = element('button', { type: 'button', click: () => show(person.key) }, person.name, badge);
  buttons.set(person.key, button);
  byId('switch').append(button);
}
byId('panes').classList.toggle('is-single', shown.length === 1);
byId('switch').hidden = shown.length === 1;
show(shown[0].key);
