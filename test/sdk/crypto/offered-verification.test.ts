import { describe, expect, it } from 'vitest';
import { OfferedVerification } from '../../../src/sdk/crypto/offered-verification.js';
import type { OfferedVerificationOptions } from '../../../src/sdk/crypto/offered-verification.js';
import { ManualClock } from '../../../src/testing/manual-clock.js';
import { MemoryLogger } from '../../../src/testing/memory-logger.js';
import { rejection } from '../../support/rejection.js';

/** A comparison of the crypto library that shows `symbol`. */
function comparison(symbol: string, confirmed: string[]) {
  const state = { isDone: false };
  const sas = {
    isCancelled: () => false,
    isDone: () => state.isDone,
    emoji: () => [{ symbol, description: symbol, free() {} }],
    accept: () => undefined,
    confirm: async () => {
      confirmed.push(symbol);
      return [];
    },
    canBePresented: () => true,
    free() {},
  };
  return { sas, state };
}

function setUp() {
  const confirmed: string[] = [];
  const clock = new ManualClock();
  const first = comparison('🐶', confirmed);
  const second = comparison('🐱', confirmed);
  const library = { current: first.sas, isDone: false };
  const request = {
    acceptWithMethods: () => undefined,
    isCancelled: () => false,
    isPassive: () => false,
    isReady: () => false,
    isDone: () => library.isDone,
    getVerification: () => library.current,
    free() {},
  };
  const verification = new OfferedVerification({ clock, logger: new MemoryLogger() }, {
    crypto: { outgoingRequestProcessor: { makeOutgoingRequest: async () => {} } },
    run: (_name: string, call: () => Promise<unknown>) => call(),
    info: { userId: '@bob:x', otherUserId: '@alice:x', otherDeviceId: 'A', transactionId: 't' },
    request,
    sas: undefined,
    expiresAt: clock.now() + 600_000,
    onEnded: () => {},
  } as unknown as OfferedVerificationOptions);
  return { verification, library, first, second, confirmed, clock };
}

describe('a verification that the application was offered', () => {
  it('confirms the comparison whose emoji were shown, though the homeserver starts another one', async () => {
    const { verification, library, first, second, confirmed } = setUp();
    expect(await verification.request.emoji()).toEqual([{ symbol: '🐶', name: '🐶' }]);
    library.current = second.sas;
    verification.update();
    const confirming = verification.request.confirm();
    second.state.isDone = true;
    verification.update();
    expect(confirmed).toEqual(['🐶']);
    first.state.isDone = true;
    verification.update();
    await confirming;
    expect(confirmed).toEqual(['🐶']);
  });

  it('does not succeed because the homeserver declares it done', async () => {
    const { verification, library, confirmed, clock } = setUp();
    await verification.request.emoji();
    library.isDone = true;
    verification.update();
    expect(await rejection(verification.request.confirm())).toMatchObject({ code: 'VERIFICATION_ENDED' });
    expect([confirmed, clock.pendingTimers]).toEqual([[], 0]);
  });

  it('has no emoji once it was declared done before there were any', async () => {
    const { verification, library, clock } = setUp();
    library.isDone = true;
    verification.update();
    expect(await rejection(verification.request.emoji())).toMatchObject({ code: 'VERIFICATION_ENDED' });
    expect(clock.pendingTimers).toBe(0);
  });
});
