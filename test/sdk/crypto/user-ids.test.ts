import { expect, it } from 'vitest';
import { deviceCheck } from '../../../src/sdk/crypto/key-sharing.js';
import { userIdentity } from '../../../src/sdk/crypto/user-identity.js';
import { queryKeys, signUser, verificationOf } from '../../../src/sdk/crypto/verification.js';
import { rejection } from '../../support/rejection.js';

class UserId {
  constructor(id: string) {
    if (!/^@.+:.+/.test(id)) throw new Error('a panic of the crypto library');
  }
  free(): void {}
}

class DeviceId {
  free(): void {}
}

it.each(['', 'alice', '@', '__proto__', '@alice'])('%j, which the crypto library rejects, names nobody', async (id) => {
  const olmMachine = { userId: new UserId('@bob:x'), deviceId: new DeviceId() };
  const crypto = { olmMachine } as never;
  expect(await userIdentity(crypto, id)).toBeUndefined();
  expect(await deviceCheck(crypto)({ userId: id, deviceId: 'A' })).toBe(false);
  expect(await verificationOf(crypto, id)).toMatchObject({ userId: id, hasIdentity: false, devices: [] });
  expect(await rejection(signUser(crypto, undefined as never, id))).toMatchObject({ code: 'NOT_FOUND' });
  await queryKeys(crypto, id);
});

it('frees what it reads of a user, also if signing their identity fails', async () => {
  let held = 0;
  const object = (): object => {
    held++;
    return { free: () => held-- };
  };
  class Id {
    constructor() {
      held++;
    }
    free(): void {
      held--;
    }
  }
  const outcomes = [
    () => Promise.reject(new Error('the library cannot read it')),
    async () => ({ ...object(), verify: () => Promise.reject(new Error('not now')) }),
  ];
  for (const getIdentity of outcomes) {
    const olmMachine = {
      get userId() {
        return new Id();
      },
      getIdentity,
      queryKeysForUsers: ([id]: Id[]) => id?.free(),
    };
    const crypto = { olmMachine, outgoingRequestProcessor: { makeOutgoingRequest: async () => {} } } as never;
    const signing = signUser(crypto, (_name, call) => call(), '@alice:x');
    await expect(signing).rejects.toThrow(/cannot read it|not now/);
    expect(held).toBe(0);
  }
});
