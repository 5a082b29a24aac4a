import { describe, expect, it } from 'vitest';
import { WithheldDevices } from '../../src/encryption/withheld-devices.js';
import type { NewlyWithheld, WithheldDevicesOptions } from '../../src/encryption/withheld-devices.js';
import type { KeyShare, ToldDevice } from '../../src/encryption/withheld-record.js';
import type { WithheldReason } from '../../src/index.js';

const room = '!r:x';
const told = (
  userId: string,
  deviceId: string,
  reason: WithheldReason = 'm.unverified',
  sessionId = 's1',
): ToldDevice => ({
  userId,
  deviceId,
  reason,
  sessionId: reason === 'm.no_olm' ? undefined : sessionId,
});
const crowd = (size: number, sessionId = 's1'): ToldDevice[] =>
  Array.from({ length: size }, (_value, n) => told(`@u${n}:x`, 'D', 'm.unverified', sessionId));
/** In another order for each seed. */
const shuffled = <Item>(items: readonly Item[], seed: number): Item[] => {
  const rest = [...items];
  let state = seed;
  const next = (): number => (state = (state * 48_271) % 2_147_483_647);
  return items.flatMap(() => rest.splice(next() % rest.length, 1));
};
const none = { told: [], given: [], members: undefined };

/** @param options - of a store that fails, or devices that are gone */
function setUp(options: Partial<WithheldDevicesOptions> = {}) {
  const records = new Map<string, Uint8Array>();
  const calls: string[] = [];
  const store: WithheldDevicesOptions['store'] = {
    readSideRecord: async (name) => {
      calls.push(`read ${name}`);
      return records.get(name);
    },
    writeSideRecord: async (name, record) => {
      calls.push(`write ${name}`);
      records.set(name, record);
    },
  };
  const open = (): WithheldDevices =>
    new WithheldDevices({ store, fetchedLists: () => 0, exists: async () => true, ...options });
  return { records, calls, open, devices: open() };
}

/** Resolves to what is reported. */
async function share(devices: WithheldDevices, what: Partial<KeyShare>, roomId = room) {
  const reports: NewlyWithheld[] = [];
  const hasAny = await devices.hasAny(roomId);
  await devices.note(roomId, { ...none, ...what }, (newly) => reports.push(newly));
  return { hasAny, reports, report: reports[0] };
}

describe('devices that get no keys', () => {
  it('are named up to 100, and counted beyond, also those that are not remembered one by one', async () => {
    const { devices, open } = setUp();
    const all = crowd(10_000);
    const { report } = await share(devices, { told: all });
    const first = all.toSorted((a, b) => (a.userId < b.userId ? -1 : 1)).slice(0, 100);
    expect(report?.devices).toEqual(first.map(({ sessionId: _session, ...device }) => device));
    expect(report?.count).toBe(10_000);
    expect(report?.counts).toEqual(new Map([['m.unverified', 10_000]]));
    for (const each of [devices, open()]) {
      const { keysWithheld, keysWithheldCount } = await each.of(room, 's1');
      expect(keysWithheld).toHaveLength(100);
      expect(keysWithheldCount).toBe(10_000);
    }
    // The next session has the same devices.
    const again = await share(devices, { told: crowd(10_000, 's2') });
    expect(again.report).toMatchObject({ devices: [], count: 0 });
    expect(again.report?.counts).toEqual(new Map([['m.unverified', 10_000]]));
    expect((await devices.of(room, 's2')).keysWithheldCount).toBe(10_000);
  });

  it('are new once, in whichever order each session tells of them, however many they are', async () => {
    const { devices, open } = setUp();
    expect((await share(devices, { told: shuffled(crowd(1_500), 1) })).report?.count).toBe(1_500);
    for (const session of [2, 3, 4]) {
      const each = session === 3 ? open() : devices;
      const { report } = await share(each, { told: shuffled(crowd(1_500, `s${session}`), session) });
      expect(report).toEqual({ devices: [], count: 0, counts: new Map([['m.unverified', 1_500]]) });
      expect((await each.of(room, `s${session}`)).keysWithheldCount).toBe(1_500);
    }
  });

  it('are new if they come to many, also with the next session when others have left', async () => {
    const { devices } = setUp();
    await share(devices, { told: shuffled(crowd(1_500), 1) });
    const early = told('@a:x', 'NEW', 'm.unverified', 's1'); // before all others by name
    const late = told('@z:x', 'NEW', 'm.unverified', 's1'); // after all that are known by name
    const newly = (await share(devices, { told: [late, early] })).report;
    expect(newly?.devices.map(({ userId }) => userId)).toEqual(['@a:x']);
    expect([newly?.count, newly?.counts.get('m.unverified')]).toEqual([2, 2]);
    expect((await devices.of(room, 's1')).keysWithheldCount).toBe(1_502);
    const next = [...crowd(1_500, 's2').slice(100), told('@b:x', 'NEWER', 'm.unverified', 's2')];
    const later = (await share(devices, { told: shuffled(next, 2) })).report;
    expect(later?.devices.map(({ userId }) => userId)).toEqual(['@b:x']);
    expect(later?.count).toBe(1);
    expect((await devices.of(room, 's2')).keysWithheldCount).toBe(1_401);
  });

  it('are counted once when all of many are told again, and with each share of the session', async () => {
    const { devices } = setUp();
    const all = [...crowd(1_500), told('@z:x', 'D', 'm.no_olm')];
    const members = new Set(all.map(({ userId }) => userId));
    expect((await share(devices, { told: all, members })).report?.count).toBe(1_501);
    expect((await share(devices, { told: shuffled(all, 2), members })).reports).toEqual([]);
    expect((await share(devices, { members })).reports).toEqual([]);
    expect((await devices.of(room, 's1')).keysWithheldCount).toBe(1_501);
  });

  it('are all counted if they have no Olm session, also in the next sessions', async () => {
    const { devices, open } = setUp();
    const all = crowd(3_000).map(({ userId, deviceId }) => told(userId, deviceId, 'm.no_olm'));
    const members = new Set(all.map(({ userId }) => userId));
    const count = async (each: WithheldDevices, session: string) => (await each.of(room, session)).keysWithheldCount;
    const first = await share(devices, { told: shuffled(all.slice(0, 800), 1) });
    expect(first.report).toMatchObject({ count: 800, counts: new Map([['m.no_olm', 800]]) });
    const second = await share(devices, { told: shuffled(all.slice(800), 2), members });
    expect(second.report).toMatchObject({ count: 2_200, counts: new Map([['m.no_olm', 2_200]]) });
    expect((await share(devices, { told: shuffled(all.slice(800), 3), members })).reports).toEqual([]);
    for (const each of [devices, open()]) {
      expect((await share(each, { members })).reports).toEqual([]);
      expect(await count(each, 'any')).toBe(3_000);
    }
    await share(devices, { given: all, members });
    expect(await count(devices, 'any')).toBe(undefined);
    expect(await count(open(), 'any')).toBe(undefined);
  });

  it('keep a record of bounded size for each room', async () => {
    const { devices, records } = setUp();
    await share(devices, { told: crowd(10_000) });
    await share(devices, { told: shuffled(crowd(2_000), 2).map((device) => ({ ...device, deviceId: 'B' })) });
    expect([...records.keys()]).toEqual([JSON.stringify(['withheld', room])]);
    expect([...records.values()][0]?.length).toBeLessThan(50_000);
  });

  it('are those of their session only', async () => {
    const { devices } = setUp();
    await share(devices, { told: [told('@a:x', 'A')] });
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 1 });
    expect(await devices.of(room, 's2')).toEqual({});
    expect(await devices.of(room, undefined)).toEqual({});
    await share(devices, { told: [told('@b:x', 'B', 'm.blacklisted', 's2')] });
    expect(await devices.of(room, 's2')).toEqual({
      keysWithheld: [{ userId: '@b:x', deviceId: 'B', reason: 'm.blacklisted' }],
      keysWithheldCount: 1,
    });
  });

  it('are reported again for another reason, and after they had got a key', async () => {
    const { devices } = setUp();
    const device = { userId: '@a:x', deviceId: 'A' };
    const reported = async (what: Partial<KeyShare>) => (await share(devices, what)).report?.devices;
    expect(await reported({ told: [told('@a:x', 'A')] })).toEqual([{ ...device, reason: 'm.unverified' }]);
    expect(await reported({ told: [told('@a:x', 'A', 'm.unverified', 's2')] })).toEqual([]);
    expect(await reported({ told: [told('@a:x', 'A', 'm.blacklisted', 's3')] })).toEqual([
      { ...device, reason: 'm.blacklisted' },
    ]);
    expect(await reported({ given: [device] })).toBe(undefined);
    expect(await devices.of(room, 's3')).toEqual({});
    expect(await reported({ told: [told('@a:x', 'A', 'm.blacklisted', 's4')] })).toHaveLength(1);
  });

  it('are told once if the message to them has to be sent again, and not if the key goes along', async () => {
    const { devices } = setUp();
    await share(devices, { told: [told('@a:x', 'A')] });
    const repeated = { told: [told('@a:x', 'A')] };
    expect((await share(devices, repeated)).reports).toEqual([]);
    expect((await share(devices, { ...repeated, given: [{ userId: '@a:x', deviceId: 'A' }] })).reports).toEqual([]);
    expect(await devices.of(room, 's1')).toEqual({});
  });

  it('without an Olm session get no key in any room, until one arrives', async () => {
    const { devices, open } = setUp();
    const device = { userId: '@a:x', deviceId: 'A' };
    const withheld = { ...device, reason: 'm.no_olm' };
    expect((await share(devices, { told: [told('@a:x', 'A', 'm.no_olm')] })).report?.devices).toEqual([withheld]);
    const members = new Set(['@a:x']);
    for (const each of [devices, open()]) {
      const other = await share(each, { members }, '!other:x');
      expect(other.hasAny).toBe(true);
      expect(other.reports).toHaveLength(each === devices ? 1 : 0);
      expect(await each.of('!other:x', 'any')).toEqual({ keysWithheld: [withheld], keysWithheldCount: 1 });
    }
    expect((await share(devices, { members: new Set(['@b:x']) }, '!without-them:x')).reports).toEqual([]);
    await share(devices, { given: [device], members });
    await share(devices, { members }, '!other:x');
    expect(await devices.of('!other:x', 'any')).toEqual({});
    expect((await share(open(), { members }, '!third:x')).hasAny).toBe(false);
  });

  it('without an Olm session are looked for after device lists were fetched, not with each message', async () => {
    let [fetched, isThere, looked] = [0, true, 0];
    const exists = async (): Promise<boolean> => (looked++, isThere);
    const { devices, open } = setUp({ fetchedLists: () => fetched, exists });
    const members = new Set(['@a:x']);
    await share(devices, { told: [told('@a:x', 'A', 'm.no_olm')] });
    for (let n = 0; n < 3; n++) await share(devices, { members });
    expect(looked).toBe(1);
    isThere = false;
    await share(devices, { members });
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 1 });
    fetched++;
    await share(devices, { members });
    expect(await devices.of(room, 's1')).toEqual({});
    expect(await open().hasAny(room)).toBe(false);
  });

  it('of users who are not in the room are not named', async () => {
    const { devices } = setUp();
    await share(devices, { told: [told('@a:x', 'A'), told('@b:x', 'B')] });
    expect((await share(devices, { members: new Set(['@b:x']) })).reports).toEqual([]);
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheld: [{ userId: '@b:x' }], keysWithheldCount: 1 });
    await share(devices, { members: new Set(['@a:x', '@b:x']) });
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 2 });
  });

  it('may have any id', async () => {
    const { devices } = setUp();
    const strange = [told('@a:x', '__proto__'), told('@a:x', 'with\0NUL'), told('@a:x', '')];
    await share(devices, { told: strange });
    const { keysWithheld } = await devices.of(room, 's1');
    expect(keysWithheld?.map(({ userId, deviceId }) => [userId, deviceId])).toEqual([
      ['@a:x', ''],
      ['@a:x', '__proto__'],
      ['@a:x', 'with\0NUL'],
    ]);
  });

  it('are read again for rooms that are not in memory any more', async () => {
    const { devices, calls } = setUp();
    await share(devices, { told: [told('@a:x', 'A')] });
    for (let n = 0; n < 100; n++) await share(devices, {}, `!${n}:x`);
    calls.length = 0;
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 1 });
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 1 });
    expect(calls).toEqual([`read ${JSON.stringify(['withheld', room])}`]);
  });

  it('cost nothing where there are none', async () => {
    const { devices, calls } = setUp();
    await share(devices, { given: [{ userId: '@a:x', deviceId: 'A' }] });
    calls.length = 0;
    expect((await share(devices, {})).hasAny).toBe(false);
    expect(await devices.of(room, 's1')).toEqual({});
    expect(calls).toEqual([]);
  });

  it.each([
    'no JSON',
    '[]',
    'null',
    '7',
    '{"session":1,"devices":{},"others":"many"}',
    '{"session":"s1","devices":[1,null,["a"],[1,"m.no_olm"],["@a:x\\u0000A","because"]]}',
  ])('begin anew with a record of %s', async (text) => {
    const { devices, records } = setUp();
    for (const name of [JSON.stringify(['withheld', room]), JSON.stringify(['withheld'])])
      records.set(name, Buffer.from(text));
    expect(await devices.hasAny(room)).toBe(false);
    expect(await devices.of(room, 's1')).toEqual({});
    expect((await share(devices, { told: [told('@a:x', 'A')] })).report?.count).toBe(1);
  });

  it('do not prevent a send when the store fails', async () => {
    const fails = (): Promise<never> => Promise.reject(new Error('the disk is full'));
    const { devices } = setUp({ store: { readSideRecord: fails, writeSideRecord: fails } });
    const { report } = await share(devices, { told: [told('@a:x', 'A'), told('@b:x', 'B', 'm.no_olm')] });
    expect(report?.count).toBe(2);
    expect(await devices.of(room, 's1')).toMatchObject({ keysWithheldCount: 2 });
  });

  it('are not lost if two rooms are shared with at once', async () => {
    const { devices, open } = setUp();
    const members = new Set(['@a:x', '@b:x']);
    await Promise.all([
      share(devices, { told: [told('@a:x', 'A', 'm.no_olm')] }),
      share(devices, { told: [told('@b:x', 'B', 'm.no_olm')] }, '!other:x'),
    ]);
    for (const each of [devices, open()]) {
      await share(each, { members }, '!third:x');
      expect(await each.of('!third:x', 's')).toMatchObject({ keysWithheldCount: 2 });
    }
  });
});
