import { code, prose, table } from './markdown.js';
import type { Field, PublicTypes } from './public-types.js';

/** Options: what a caller gives. Each needs a doc comment. */
export function optionsTable(owner: string, fields: readonly Field[], link: (type: string) => string): string {
  const rows = fields.map((field) => {
    const { name, isOptional, type, fallback } = field;
    const absent = isOptional ? 'none' : 'required';
    return [code(name), link(type), fallback === undefined ? absent : fallbackText(fallback), documented(owner, field)];
  });
  return table(['Option', 'Type', 'Default', 'Meaning'], rows);
}

/** What the library gives. */
export function fieldsTable(owner: string, fields: readonly Field[]): string {
  const rows = fields.map((field) => [
    code(field.isOptional ? `${field.name}?` : field.name),
    code(field.type),
    documented(owner, field),
  ]);
  return table(['Field', 'Type', 'Meaning'], rows);
}

/** Links a type to its section, if it has one on the page. */
export function linkTo(sections: ReadonlySet<string>): (type: string) => string {
  return (type) => (sections.has(type) ? `[${code(type)}](#${type.toLowerCase()})` : code(type));
}

/** Names of the package's types that no section covers: a new one has to be put somewhere. */
export function uncovered(types: PublicTypes, suffix: RegExp, covered: ReadonlySet<string>): string[] {
  return [...types.names].filter((name) => suffix.test(name) && !covered.has(name));
}

/** What these names mean wherever they have no comment of their own. */
const glossary: Readonly<Record<string, string>> = {
  accessToken: 'Its access token.',
  attempt: 'Which attempt it was; the first one is 1.',
  cause: 'The error behind this one.',
  deviceId: 'The device.',
  durationMs: 'How long it took, in milliseconds.',
  endpoint: 'The path with names for its ids.',
  error: 'What went wrong.',
  errorCode: 'The code of the error, if it failed.',
  eventId: 'The event.',
  events: 'How many events.',
  method: 'The HTTP method.',
  oldDeviceId: 'The device before.',
  outcome: 'How it ended.',
  password: 'Its password.',
  processingMs: 'How long it took until its events were handed to the callbacks, in milliseconds.',
  roomId: 'The room.',
  rooms: 'How many rooms.',
  signal: 'Ends the call at once with `ABORTED`, whatever it is waiting for.',
  status: 'The HTTP status of the answer; undefined without one.',
  txnId: 'The transaction id of the message.',
  type: 'The kind of event.',
  userId: 'The user, by full user id.',
};

function documented(owner: string, { name, meaning, meaningOfType }: Field): string {
  const text = meaning || glossary[name] || meaningOfType;
  if (text === undefined || text === '') throw new Error(`expected ${owner}.${name} to have a doc comment`);
  return prose(text);
}

/** Values within what a comment gives as default. */
const values = /(?<!\w)'[^']*'|\[[^\]]*\]|\b\w+\([^)]*\)|\b(?:true|false|Infinity)\b|^[\d_]+|`[^`]*`/g;

/** A default is a value, prose, or a value with a remark. */
function fallbackText(text: string): string {
  return prose(text.replaceAll(values, (match) => (match.startsWith('`') ? match : `\`${match}\``)));
}
