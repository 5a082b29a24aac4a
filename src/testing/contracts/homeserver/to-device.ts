import type { EncryptedSync } from './key-calls.js';
import type { JsonResponse, Json } from './raw-http.js';
import { path } from './raw-http.js';
import type { Suite } from './test-api.js';
import type { TestUser } from './test-user.js';

/** Most to-device messages in one sync. */
const MAX_PER_SYNC = 100;

export function toDevice({ describe, it, expect, world }: Suite): void {
  describe('messages from device to device', () => {
    it('arrive once, at the device or at all of them, and a repeated txnId sends none', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const phone = await bob.logInAgain();
      const [first, second] = [(await bob.sync()).next_batch, (await phone.sync()).next_batch];
      const send = (txnId: string, to: string, n: number): Promise<JsonResponse<Json>> =>
        sendTo(alice, { [bob.userId]: { [to]: { n } } }, txnId);
      expect(await send('a', bob.deviceId, 1)).toMatchObject({ status: 200, body: {} });
      expect(await send('a', bob.deviceId, 1)).toMatchObject({ status: 200, body: {} });
      await send('b', '*', 2);
      await send('c', 'NO_SUCH_DEVICE', 3);
      const event = (n: number): Json => ({ type: 'org.example.test', sender: alice.userId, content: { n } });
      const received = await syncOf(bob, first, 5_000);
      expect(received.to_device?.events).toEqual([event(1), event(2)]);
      expect((await syncOf(phone, second)).to_device?.events).toEqual([event(2)]);
    });

    it('are repeated until a later `since` confirms that they have arrived', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const { next_batch: since } = await bob.sync();
      await sendTo(alice, { [bob.userId]: { [bob.deviceId]: { n: 1 } } });
      const received = await syncOf(bob, since, 5_000);
      expect(numbersOf(received)).toEqual([1]);
      expect(numbersOf(await syncOf(bob, since))).toEqual([1]);
      expect(numbersOf(await syncOf(bob, received.next_batch))).toEqual([]);
      // Another timeout, because Synapse repeats its response to an identical request.
      expect(numbersOf(await syncOf(bob, since, 1))).toEqual([]);
    });

    it('wait for a first sync', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      await sendTo(alice, { [bob.userId]: { '*': { n: 1 } } });
      expect(numbersOf(await bob.sync())).toEqual([1]);
    });

    it(`come ${MAX_PER_SYNC} at a time, the oldest first`, async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const { next_batch: since } = await bob.sync();
      const all = Array.from({ length: MAX_PER_SYNC + 5 }, (_, n) => n);
      for (const n of all) await sendTo(alice, { [bob.userId]: { [bob.deviceId]: { n } } });
      const first = await syncOf(bob, since, 5_000);
      expect(numbersOf(first)).toEqual(all.slice(0, MAX_PER_SYNC));
      const second = await syncOf(bob, first.next_batch, 5_000);
      expect(numbersOf(second)).toEqual(all.slice(MAX_PER_SYNC));
      expect(numbersOf(await syncOf(bob, second.next_batch))).toEqual([]);
    });

    it('go to several users at once; unknown users are ignored', async () => {
      const w = await world();
      const [alice, bob, carol] = await w.newUsers<[TestUser, TestUser, TestUser]>(3);
      const positions = [(await bob.sync()).next_batch, (await carol.sync()).next_batch] as const;
      const messages = {
        [bob.userId]: { '*': { n: 1 } },
        [carol.userId]: { '*': { n: 2 } },
        [w.userId('nobody')]: { '*': {} },
      };
      expect((await sendTo(alice, { ...messages, 'no user id': { '*': {} } })).status).toBe(200);
      expect(numbersOf(await syncOf(bob, positions[0], 5_000))).toEqual([1]);
      expect(numbersOf(await syncOf(carol, positions[1], 5_000))).toEqual([2]);
    });

    it('are refused without messages, and when one is too large: 413 M_TOO_LARGE', async () => {
      const alice = await (await world()).newUser();
      const url = path`/_matrix/client/v3/sendToDevice/org.example.test/${'none'}`;
      expect(await alice.http.put(url, {})).toMatchObject({ status: 400, body: { errcode: 'M_MISSING_PARAM' } });
      const large = await sendTo(alice, { [alice.userId]: { '*': { text: 'x'.repeat(70_000) } } });
      expect(large).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } });
    });

    it('wake a sync that waits', async () => {
      const w = await world();
      const [alice, bob] = await w.newUsers();
      const { next_batch: since } = await bob.sync();
      const waiting = syncOf(bob, since, 20_000);
      await sendTo(alice, { [bob.userId]: { '*': { n: 1 } } });
      expect(numbersOf(await waiting)).toEqual([1]);
    });
  });
}

let transactions = 0;

function sendTo(user: TestUser, messages: Json, txnId = `to-device-${++transactions}`): Promise<JsonResponse<Json>> {
  return user.http.put(path`/_matrix/client/v3/sendToDevice/org.example.test/${txnId}`, { messages });
}

async function syncOf(user: TestUser, since: string, timeout = 0): Promise<EncryptedSync> {
  return user.sync({ since, timeout });
}

function numbersOf({ to_device: messages }: EncryptedSync): unknown[] {
  return (messages?.events ?? []).map(({ content }) => (content as Json)['n']);
}
