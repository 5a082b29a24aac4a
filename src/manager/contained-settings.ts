import { callContained, catchRejection, containedClock, containedLogger } from '../core/contain.js';
import type { Containment } from '../core/contain.js';
import { MatrixClientManagerError } from '../core/errors.js';
import { describe } from '../core/ids.js';
import { isObject } from '../core/raw-event.js';
import { checkedFetch } from '../http/checked-fetch.js';
import type { HttpResponse, OpenTransport, Transport } from '../core/ports/transport.js';
import type { Provisioner, ProvisionerCapabilities } from '../provisioning/provisioner.js';
import { containedStorage } from '../storage/contained-storage.js';
import type { Settings } from './options.js';

type Bounds = Pick<Containment, 'clock' | 'timeoutMs'>;

/**
 * The settings with all that the application has written put behind {@link callContained}: whatever its functions do,
 * they end no process and hold nothing up for longer than `requestTimeoutMs`, a provisioner for `startTimeoutMs`.
 */
export function containedSettings(settings: Settings): Settings {
  const logger = containedLogger(settings.logger);
  const clock = containedClock(settings.clock, logger);
  const { provisioner, encryption, requestTimeoutMs, startTimeoutMs } = settings;
  const bounds = { clock, timeoutMs: requestTimeoutMs };
  return {
    ...settings,
    logger,
    clock,
    storage: containedStorage(settings.storage, bounds),
    transport: containedTransport(settings.transport),
    ...(provisioner && { provisioner: containedProvisioner(provisioner, { clock, timeoutMs: startTimeoutMs }) }),
    ...(encryption && { encryption: { ...encryption, users: containedUsers(encryption.users) } }),
  };
}

const NO_CAPABILITIES: ProvisionerCapabilities = { renewsSessions: false, deactivatesUsers: false };

function containedProvisioner(provisioner: Provisioner, bounds: Bounds): Provisioner {
  const call = <T>(name: keyof Provisioner, run: () => Promise<T>): Promise<Awaited<T>> =>
    callContained({ ...bounds, callee: `provisioner.${name}()`, code: 'REJECTED' }, run);
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
      const message = 'provisioner.ensureUser() answered something that is no user';
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
      const connections = opened(transport);
      return {
        fetch: checkedFetch((input, init) => connections.fetch(input, init)),
        send: async (request) => {
          const answer: unknown = await connections.send(request);
          if (isAnswer(answer)) return answer;
          throw new MatrixClientManagerError('INVALID_RESPONSE', 'the transport answered something that is no answer');
        },
        close: async () => connections.close(), // the shutdown bounds it
      };
    },
  };
}

function opened(transport: Transport): OpenTransport {
  try {
    const connections: unknown = transport.open();
    if (isObject(connections) && typeof connections.send === 'function') return connections as unknown as OpenTransport;
    if (connections !== undefined) catchRejection(connections, () => {});
  } catch (cause) {
    throw new MatrixClientManagerError('INVALID_OPTIONS', '`transport` could not be opened', { cause });
  }
  throw new MatrixClientManagerError('INVALID_OPTIONS', '`transport.open()` returned no connections');
}

function isAnswer(answer: unknown): answer is HttpResponse {
  if (!isObject(answer)) return false;
  const { status, text, headers } = answer as { status?: unknown; text?: unknown; headers?: { get?: unknown } | null };
  return Number.isInteger(status) && typeof text === 'string' && typeof headers?.get === 'function';
}

/** Whether a user has encryption must not be guessed: a function that fails to say so fails the call. */
function containedUsers(users: (userId: string) => boolean): (userId: string) => boolean {
  return (userId) => {
    let answer: unknown;
    try {
      answer = users(userId);
    } catch (cause) {
      throw new MatrixClientManagerError('INVALID_OPTIONS', '`encryption.users` failed', { userId, cause });
    }
    if (typeof answer === 'boolean') return answer;
    catchRejection(answer, () => {});
    const message = `expected \`encryption.users\` to return a boolean, got ${describe(answer)}`;
    throw new MatrixClientManagerError('INVALID_OPTIONS', message, { userId });
  };
}
