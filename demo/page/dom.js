/**
 * Makes an element. Texts become text nodes, never HTML: they come from other people.
 *
 * @param {string} tag
 * @param {Record<string, string | number | boolean | ((event: any) => void) | undefined>} [properties] attributes; functions are listeners, and undefined and false are left out
 * @param {...(Node | string | undefined)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') made.addEventListener(name, value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : `${value}`);
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

/** Sets the text only if it differs, so that screen readers and selections are not disturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or removes an attribute. */
export function setAttribute(node, name, value) {
  if (value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Gives `parent` exactly these children, in this order, and moves only those that are not in their place. */
export function setChildren(parent, children) {
  const wanted = new Set(children);
  for (const child of Array.from(parent.children)) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

const icons = {
  attach: 'M16.5 6.5v9a4.5 4.5 0 0 1-9 0v-10a3 3 0 0 1 6 0v9a1.5 1.5 0 0 1-3 0v-8',
  send: 'M4 12l16-8-6 16-3-6.5z',
  back: 'M14 6l-6 6 6 6',
  plus: 'M12 5v14M5 12h14',
  react: 'M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zM8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5v.5M15 9.5v.5',
  reply: 'M10 7L5 12l5 5M5 12h9a5 5 0 0 1 5 5v1',
  edit: 'M5 19l1-4L16 5l3 3L9 18z',
  delete: 'M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12',
  down: 'M12 5v14M6 13l6 6 6-6',
  close: 'M6 6l12 12M18 6L6 18',
};

/** A drawing beside or instead of a label; screen readers do not see it. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value);
  }
  path.setAttribute('d', icons[name]);
  svg.append(path);
  return svg;
}

/** A button with a drawing, whose label is for screen readers and the tooltip. */
export function iconButton(name, label, onClick, properties = {}) {
  return element(
    'button',
    { type: 'button', class: 'icon-button', 'aria-label': label, title: label, click: onClick, ...properties },
    icon(name),
  );
}

/** A round picture with the first letter of a name. `hue` is one of the colours of the style sheet. */
export function avatar(name, hue) {
  return element('span', { class: 'avatar', 'data-hue': hue, 'aria-hidden': 'true' }, [...name][0] ?? '?');
}

/** One of the colours 2 to 5: the same one for the same key. The first two are those of the users of the page. */
export function hueOf(key) {
  let sum = 0;
  for (const char of key) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 4;
  return sum + 2;
}
