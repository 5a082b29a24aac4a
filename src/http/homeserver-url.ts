import * as v from 'valibot';
import { checkedAs } from '../core/validation.js';

/** The schema of the option `homeserverUrl`. Removes slashes at its end. The error does not print it: it may contain a password. */
export const homeserverUrlSchema = v.pipe(
  checkedAs<string>('an http or https URL without user, query and fragment', isHomeserverUrl),
  v.transform((url) => new URL(url).href.replace(/\/+$/, '')),
);

function isHomeserverUrl(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) && username + password + search + hash === '';
}
