import { callContained, catchRejection, containedClock, containedLogger } from '../core/contain.js';
import type { Containment } from '../core/contain.js';
import { invalidOptions, MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import { checkedFetch } from '../http/fetch-transport.js';
import type { HttpResponse, OpenTransport, Transport } from '../core/ports/transport.js';
import type { Provisioner, ProvisionerCapabilities } from '../provisioning/provisioner.js';
import { containedStorage } from '../storage/contained-storage.js';
import type { Settings } from './options.js';

type Timeout = Pick<Containment, 'clock' | 'timeoutMs'>;

/**
 * Wraps the functions and objects that the application supplies. Their failures become errors of the library instead of
 * ending the process. Storage calls time out after `requestTimeoutMs`, calls of a provisioner after `startTimeoutMs`.
 */
export function containedSettings(settings: Settings): Settings {
  const logger = containedLogger(settings.logger);
  const clock = containedClock(settings.clock, logger);
  const { provisioner, encryption, requestTimeoutMs, startTimeoutMs } = settings;
  const timeout = { clock, timeoutMs: requestTimeoutMs };
  return {
    ...settings,
    logger,
    clock,
    storage: containedStorage(settings.storage, timeout),
    transport: containedTransport(settings.transport),
    ...(provisioner && { provisioner: containedProvisioner(provisioner, { clock, timeoutMs: startTimeoutMs }) }),
    ...(encryption && { encryption: { ...encryption, users: containedUsers(encryption.users) } }),
  };
}

const NO_CAPABILITIES: ProvisionerCapabilities = { renewsSessions: false, deactivatesUsers: false };

function containedProvisioner(provisioner: Provisioner, timeout: Timeout): Provisioner {
  const call = <T>(name: keyof Provisioner, run: () => Promise<T>): Promise<Awaited<T>> =>
    callContained({ ...timeout, callee: `provisioner.${name}()`, code: 'REJECTED' }, run);
  return {
    get capabilities() {
      try {
        const capabilities: unknown = provisioner.capabilities;
        return isObject(capabilities) ? (capabilities as unknown as ProvisionerCapabilities) : NO_CAPABILITIES;
      } catch {
        return NO_CAPABILITIES;
      }
    },
    ensureUser: async (request) => {
      const user: unknown = await call('ensureUser', () => provisioner.ensureUser(request));
      const isUser = isObject(user) && typeof user.created === 'boolean';
      if (isUser && ['string', 'undefined'].includes(typeof user.password))
        return { ...user, created: Boolean(user.created) };
      const message = 'expected provisioner.ensureUser() to resolve to { created, password? }';
      throw new MatrixClientManagerError('INVALID_RESPONSE', message, { userId: request.userId });
    },
    openSession: (request) => call('openSession', () => provisioner.openSession(request)),
    closeSession: (session) => call('closeSession', () => provisioner.closeSession(session)),
    deactivateUser: (userId, options) => call('deactivateUser', () => provisioner.deactivateUser(userId, options)),
  };
}

function containedTransport(transport: Transport): Transport {
  return {
    open: () => {
      const opened = openChecked(transport);
      return {
        fetch: checkedFetch((input, init) => opened.fetch(input, init)),
        send: async (request) => {
          const response: unknown = await opened.send(request);
          if (isHttpResponse(response)) return response;
          const message = "expected the transport's send() to resolve to { status, text, headers }";
          throw new MatrixClientManagerError('INVALID_RESPONSE', message);
        },
        close: async () => opened.close(), // the shutdown applies a time-out to this call
      };
    },
  };
}

function openChecked(transport: Transport): OpenTransport {
  try {
    const opened: unknown = transport.open();
    if (isObject(opened) && typeof opened.send === 'function') return opened as unknown as OpenTransport;
    if (opened !== undefined) catchRejection(opened, () => {});
  } catch (cause) {
    throw invalidOptions('`transport.open()` failed', { cause });
  }
  const message = 'expected `transport.open()` to return an object with a method send()';
  throw invalidOptions(message);
}

function isHttpResponse(response: unknown): response is HttpResponse {
  if (!isObject(response)) return false;
  const { status, text, headers } = response as {
    status?: unknown;
    text?: unknown;
    headers?: { get?: unknown } | null;
  };
  return Number.isInteger(status) && typeof text === 'string' && typeof headers?.get === 'function';
}

/**
 * Whether a user has encryption is never guessed: a call fails when `encryption.users` throws or returns no boolean.
 */
function containedUsers(users: (userId: string) => boolean): (userId: string) => boolean {
  return (userId) => {
    let result: unknown;
    try {
      result = users(userId);
    } catch (cause) {
      throw invalidOptions('`encryption.users` failed', { userId, cause });
    }
    if (typeof result === 'boolean') return result;
    catchRejection(result, () => {});
    const message = `expected \`encryption.users\` to return a boolean, got ${describe(result)}`;
    throw invalidOptions(message, { userId });
  };
}
