import type { Claim } from '../../core/ports/claim.js';
import type { TestApi } from './homeserver/test-api.js';

/** Where claims come from. */
export interface ClaimsUnderTest {
  readonly take: (userId: string) => Promise<Claim>;
  /** Makes another process the owner of the user. Leave it out if no other process can be. */
  readonly takeElsewhere?: (userId: string) => Promise<unknown>;
}

const alice = '@alice:example.org';
const bob = '@bob:example.org';

/**
 * Defines the tests that every implementation of `Claim` has to pass.
 * @param open - makes claims of which none is taken; called once per test
 */
export function claimContract({ describe, it, expect }: TestApi, open: () => Promise<ClaimsUnderTest>): void {
  function assertHeld(claim: Claim): void {
    claim.assertHeld();
    expect(claim.signal.aborted).toBe(false);
  }

  describe('a claim', () => {
    it('belongs to its user and is held', async () => {
      const claim = await (await open()).take(alice);
      expect(claim.userId).toBe(alice);
      assertHeld(claim);
    });

    it('has a greater epoch than the ones before it', async () => {
      const { take } = await open();
      const [first, second] = [await take(alice), await take(alice)];
      expect(second.epoch).toBeGreaterThan(first.epoch);
      assertHeld(second);
    });

    it('is lost for good when another process takes the user, and no other claim with it', async () => {
      const { take, takeElsewhere } = await open();
      const [ofAlice, ofBob] = [await take(alice), await take(bob)];
      if (!takeElsewhere) return assertHeld(ofAlice);
      const reasons: unknown[] = [];
      ofAlice.signal.addEventListener('abort', () => reasons.push(ofAlice.signal.reason));
      await takeElsewhere(alice);
      const error = await (async () => ofAlice.assertHeld())().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'OWNED_ELSEWHERE', userId: alice });
      expect(reasons).toEqual([error]);
      assertHeld(ofBob);
      assertHeld(await take(alice));
      expect(ofAlice.signal.aborted).toBe(true);
    });
  });
}
