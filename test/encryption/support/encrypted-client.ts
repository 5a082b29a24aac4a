import { createClient } from 'matrix-js-sdk';
import type { MatrixClient } from 'matrix-js-sdk';
import type { Clock } from '../../../src/core/clock.js';
import type { Logger } from '../../../src/core/logger.js';
import { openCrypto } from '../../../src/sdk/crypto/open-crypto.js';
import type { ClientCrypto, OpenCryptoOptions } from '../../../src/sdk/crypto/open-crypto.js';
import { testContext } from '../../support/context.js';
import type { TestContextOptions } from '../../support/context.js';

/** Answers by the end of the path; what is not named is 404. An answer of undefined never comes, a promise later. */
export type Answers = Readonly<Record<string, object | undefined>>;

const sdkLogger = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => sdkLogger };

/** A client that is not started, on a homeserver that knows what `answers` says. */
export function clientWith(answers: Answers = {}, userId = '@a:x', deviceId = 'D'): MatrixClient {
  const fetchFn = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const { pathname } = new URL(input instanceof Request ? input.url : input);
    const [, answer] = Object.entries({ '/keys/query': { device_keys: {} }, ...answers }).find(([end]) =>
      pathname.endsWith(end),
    ) ?? ['', { errcode: 'M_NOT_FOUND', error: 'no' }];
    const body = await Promise.resolve(answer);
    if (body) return Response.json(body, { status: 'errcode' in body ? 404 : 200 });
    return new Promise((_resolve, reject) => {
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error));
    });
  };
  const baseUrl = 'https://homeserver.test';
  return createClient({ baseUrl, userId, deviceId, accessToken: 't', fetchFn, logger: sdkLogger, disableVoip: true });
}

/** {@link openCrypto} with everything that a test does not care for. */
export function encrypt({
  clock,
  logger,
  startTimeoutMs,
  ...options
}: Pick<OpenCryptoOptions, 'matrixClient' | 'store'> &
  Partial<OpenCryptoOptions> &
  TestContextOptions<Clock, Logger>): Promise<ClientCrypto> {
  const context = testContext({
    ...(clock && { clock }),
    ...(logger && { logger }),
    ...(startTimeoutMs && { startTimeoutMs }),
  });
  return openCrypto(context, {
    resumes: true,
    onFault: (error) => {
      throw error;
    },
    ...options,
  });
}
