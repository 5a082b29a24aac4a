import { expect, it } from 'vitest';
import { VerificationLimits } from '../../../src/sdk/crypto/verification-limits.js';

it('ten requests of a user are answered in a period, and a hundred of all', () => {
  const limits = new VerificationLimits(1_000);
  const allowed = (userId: string, now: number) => Array.from({ length: 20 }, () => limits.allow(userId, now));
  const count = (answers: readonly boolean[]) => answers.filter(Boolean).length;
  expect(count(allowed('@alice:x', 0))).toBe(10);
  expect(count(allowed('@alice:x', 999))).toBe(0);
  expect(count(allowed('@alice:x', 1_000))).toBe(10);
  const others = Array.from({ length: 20 }, (_, n) => count(allowed(`@user${n}:x`, 1_500)));
  expect(others.reduce((sum, each) => sum + each, 0)).toBe(90);
  expect(limits.allow('@late:x', 1_999)).toBe(false);
  expect(limits.allow('@late:x', 2_000)).toBe(true);
});
