import { fieldsTable } from './fields-table.js';
import { code, page, prose, table } from './markdown.js';
import type { PublicTypes } from './public-types.js';

/** Events of a timeline have the fields of a message, and some of their own. */
const inTimeline = ['Reaction', 'Redaction', 'Membership', 'State'] as const;
const others = ['Typing', 'Receipt', 'Invite'] as const;

export function eventsPage(types: PublicTypes): string {
  return page(
    'Events',
    '## Events of the manager',
    '`manager.on(name, listener)` calls `listener` with one object, and returns a function that removes the listener.',
    ...listeners(types, 'ManagerEvents'),
    '## Events of a connection',
    '`connection.on(name, listener)`, for what `manager.connect()` resolves with.',
    ...listeners(types, 'ConnectionEvents'),
    '## Events for callbacks',
    'Callbacks get these, told apart by `type`.',
    ...kind(types, 'Message'),
    ...inTimeline.flatMap((name) => kind(types, name, 'Message')),
    ...others.flatMap((name) => kind(types, name)),
  );
}

/** @param base - the kind whose fields this one has as well */
function kind(types: PublicTypes, name: string, base?: string): string[] {
  const known = new Set(base === undefined ? [] : types.fieldsOf(`${base}Event`).map((field) => field.name));
  known.delete('type');
  const fields = types.fieldsOf(`${name}Event`).filter((field) => !known.has(field.name));
  const more =
    base === undefined ? '' : ` Has the fields of [${base.toLowerCase()}](#${base.toLowerCase()}) and these:`;
  return [`### ${name.toLowerCase()}`, `${prose(types.docOf(`${name}Event`))}${more}`, fieldsTable(name, fields)];
}

function listeners(types: PublicTypes, name: string): string[] {
  const payloads = [...types.payloadsOf(name)];
  const rows = payloads.map(([event, { meaning }]) => [`[${code(event)}](#${event.toLowerCase()})`, prose(meaning)]);
  return [
    table(['Event', 'Tells'], rows),
    ...payloads.flatMap(([event, { fields }]) => [`### ${event}`, fieldsTable(`${name}.${event}`, fields)]),
  ];
}
