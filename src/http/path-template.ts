import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { path } from './path.js';

/** The characters that RFC 3986 allows in a path segment, without `%`: encoded text belongs in a parameter. */
const LITERAL = /^[A-Za-z0-9\-._~!$&'()*+,;=:@]*$/;
const PARAMETER = /^\{([A-Za-z]\w*)\}$/;

/**
 * The path of a template such as `/_matrix/client/v3/rooms/{roomId}/aliases`, with its parameters percent-encoded. Each
 * parameter is a whole segment. Throws `INVALID_OPTIONS` for a template or a value that could lead to another endpoint.
 */
export function expandTemplate(template: string, params: ReadonlyMap<string, string>): string {
  if (!/^\/_(matrix|synapse)\//.test(template)) {
    throw badTemplate('to begin with /_matrix/ or /_synapse/', template);
  }
  const used = new Set<string>();
  const segments = template.split('/').map((segment, index, { length }) => {
    const name = PARAMETER.exec(segment)?.[1];
    if (name !== undefined) {
      used.add(name);
      return encodedParameter(name, params.get(name));
    }
    if (!LITERAL.test(segment)) throw badTemplate(`without ${describe(segment)}: pass it in \`pathParams\``, template);
    if (segment === '.' || segment === '..') throw badTemplate('without the segments `.` and `..`', template);
    if (segment === '' && index > 0 && index < length - 1) throw badTemplate('without empty segments', template);
    return segment;
  });
  const superfluous = [...params.keys()].find((name) => !used.has(name));
  if (superfluous !== undefined) {
    const message = `expected \`pathParams\` to have the parameters of \`path\` only, got ${describe(superfluous)}`;
    throw invalidOptions(message);
  }
  return segments.join('/');
}

function encodedParameter(name: string, value: string | undefined): string {
  if (value === undefined) throw invalidOptions(`expected \`pathParams.${name}\`, which \`path\` contains`);
  // A proxy may decode the path before it removes dot segments.
  if (value === '' || value.split(/[/\\]/).some((part) => part === '.' || part === '..')) {
    const message = `expected \`pathParams.${name}\` to be a value without empty text and dot segments, got ${describe(value)}`;
    throw invalidOptions(message);
  }
  return path`${value}`;
}

function badTemplate(expected: string, template: string): Error {
  return invalidOptions(`expected \`path\` ${expected}, got ${describe(template)}`);
}
