import * as v from 'valibot';
import type { CallOptions } from '../core/call-options.js';
import { invalidOptions } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import { toSendableJson } from '../core/sendable-json.js';
import {
  checkedAs,
  flag,
  isText,
  name,
  object,
  oneOf,
  optionsOf,
  signal,
  unchecked,
  userId,
} from '../core/validation.js';
import type { Method, QueryValue } from '../http/homeserver-http.js';
import { expandTemplate } from '../http/path-template.js';

export interface RequestOptions extends CallOptions {
  /** The user whose session makes the request. Pass either this or `admin`. */
  readonly userId?: string | undefined;
  /** Whether the account of the option `admin` makes the request. @default false */
  readonly admin?: boolean | undefined;
  readonly method: Method;
  /**
   * Template of the path, below `/_matrix/` or `/_synapse/`: `/_matrix/client/v3/rooms/{roomId}/aliases`. Metrics have
   * the template as a label, so ids belong in `pathParams`.
   */
  readonly path: string;
  /** The value of each parameter of `path`, not encoded. @default none */
  readonly pathParams?: Readonly<Record<string, string>> | undefined;
  /** Query parameters. A list repeats the parameter. @default none */
  readonly query?: Readonly<Record<string, QueryValue | undefined>> | undefined;
  /** JSON body: an object or a list. @default `{}` for POST and PUT, otherwise none */
  readonly body?: unknown;
}

/** A request whose options were checked. */
export interface CheckedRequest extends CallOptions {
  /** Undefined: the admin. */
  readonly userId: string | undefined;
  readonly method: Method;
  readonly template: string;
  readonly path: string;
  /** The parameter `roomId` of the path, for errors. */
  readonly roomId: string | undefined;
  readonly query: Readonly<Record<string, QueryValue | undefined>>;
  readonly body: unknown;
}

const optionsSchema = optionsOf<RequestOptions>({
  userId: v.optional(userId),
  admin: v.optional(flag),
  method: oneOf('GET', 'PUT', 'POST', 'DELETE'),
  path: name,
  pathParams: v.optional(object<Readonly<Record<string, string>>>()),
  query: v.optional(object<Readonly<Record<string, QueryValue | undefined>>>()),
  body: unchecked(),
  signal: v.optional(signal),
});

const param = checkedAs<string>('a string of Unicode text', isText);

export const requestSchema = v.pipe(
  optionsSchema,
  v.check(
    ({ userId: user, admin = false }) => (user !== undefined) !== admin,
    'an object with either `userId` or `admin: true`',
  ),
  v.transform(toRequest),
);

function toRequest(options: RequestOptions): CheckedRequest {
  const { userId: user, method, path: template, pathParams = {}, query = {}, body, signal: callerSignal } = options;
  const params = new Map(Object.entries(pathParams));
  for (const [key, value] of params) {
    if (!v.is(param, value))
      throw invalidOptions(`expected \`pathParams.${shortened(key)}\` to be a string of Unicode text`);
  }
  return {
    userId: user,
    method,
    template,
    path: expandTemplate(template, params),
    roomId: params.get('roomId'),
    query: Object.fromEntries(Object.entries(query).map(([key, value]) => [key, queryValue(key, value)])),
    body: toBody(method, body),
    signal: callerSignal,
  };
}

function queryValue(key: string, value: unknown): QueryValue | undefined {
  // A token in the URL would be logged by proxies, and contradicts the token of the session.
  if (key === 'access_token')
    throw invalidOptions('expected `query` without `access_token`: the session has the token');
  const values: unknown[] = Array.isArray(value) ? [...value] : [value];
  const isValid = values.every((one) => isText(one) || typeof one === 'boolean' || Number.isFinite(one));
  if (key.isWellFormed() && (value === undefined || isValid))
    return (Array.isArray(value) ? values : value) as QueryValue;
  const expected = 'a string of Unicode text, a number, true, false, or a list of these';
  throw invalidOptions(`expected \`query.${shortened(key)}\` to be ${expected}`);
}

function toBody(method: Method, body: unknown): unknown {
  if (method === 'GET' && body !== undefined) throw invalidOptions('expected no `body` with the method GET');
  if (body === undefined) return method === 'DELETE' || method === 'GET' ? undefined : {};
  const copy = toSendableJson(body, 'body', Infinity, 'a request');
  if (isObject(copy) || Array.isArray(copy)) return copy;
  throw invalidOptions(`expected \`body\` to be an object or a list, got ${typeof copy}`);
}

function shortened(key: string): string {
  return describe(key).slice(1, -1);
}
