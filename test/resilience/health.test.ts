import { expect, it } from 'vitest';
import { MatrixClientManager } from '../../src/index.js';
import { FakeHomeserver, ManualClock } from '../../src/testing/index.js';
import { advanceUntil } from '../support/advance-until.js';
import { rejection } from '../support/rejection.js';
import { crowd } from './crowd.js';

it('health is ok while clients sync, and asking every second sends no request', async () => {
  const { clock, fake, manager } = await crowd(3);
  for (let second = 0; second < 120; second++) {
    expect(await manager.checkHealth()).toEqual({ status: 'ok', reasons: [] });
    await clock.advance(1_000);
  }
  expect(fake.countRequests('/_matrix/client/versions')).toBe(0);
});

it('health of a manager without clients asks the homeserver now and then', async () => {
  const clock = new ManualClock();
  await using fake = new FakeHomeserver({ clock });
  await using manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock });
  for (let second = 0; second < 120; second++) {
    expect(await manager.checkHealth()).toEqual({ status: 'ok', reasons: [] });
    await clock.advance(1_000);
  }
  expect(fake.requests.length).toBeGreaterThanOrEqual(3);
  expect(fake.requests.length).toBeLessThanOrEqual(5);
});

it('health is degraded while a client reconnects or has failed, and says so', async () => {
  const { clock, fake, manager, users } = await crowd(5);
  const [reconnecting = '', failing = ''] = users.map(({ userId }) => userId);
  fake.faults.status({ endpoint: '/sync', userId: reconnecting }, { status: 502 });
  await advanceUntil(clock, manager.stopClient(failing));
  fake.faults.status({ endpoint: '/sync', userId: failing }, { status: 403, errcode: 'M_FORBIDDEN' });
  const refused = await advanceUntil(clock, rejection(manager.startClient({ userId: failing })));
  expect(refused).toMatchObject({ code: 'FORBIDDEN' });
  fake.restart();
  await clock.advance(30_000);
  const { status, reasons } = await manager.checkHealth();
  expect(status).toBe('degraded');
  expect(reasons.join()).toContain('1 clients are reconnecting');
  expect(reasons.join()).toContain('1 clients have failed');
});

it('health is down in an outage, with the time of the next look, and ok after it', async () => {
  const { clock, fake, manager } = await crowd(5);
  const mend = fake.faults.status({}, { status: 503 });
  fake.restart();
  await clock.advance(10_000);
  fake.clearRequests();
  for (let times = 0; times < 50; times++) {
    const { status, reasons } = await manager.checkHealth();
    expect(status).toBe('down');
    expect(reasons.join()).toMatch(/next probe is in \d+ ms/);
  }
  expect(fake.requests).toEqual([]);
  mend();
  await clock.advance(10_000);
  expect(await manager.checkHealth()).toEqual({ status: 'ok', reasons: [] });
});

it('health of a manager that never reached its homeserver is down, and its looks do not pile up', async () => {
  const clock = new ManualClock();
  await using fake = new FakeHomeserver({ clock });
  await using manager = new MatrixClientManager({ homeserverUrl: fake.baseUrl, fetch: fake.fetch, clock });
  fake.faults.hang({});
  const checks: Promise<{ status: string }>[] = [];
  let most = 0;
  for (let second = 0; second < 30; second++) {
    checks.push(manager.checkHealth());
    await clock.advance(1_000);
    most = Math.max(most, fake.inFlight);
  }
  for (const { status } of await advanceUntil(clock, Promise.all(checks))) expect(status).toBe('down');
  expect(most).toBeLessThanOrEqual(2); // one look, and one to confirm that it is an outage
  expect(fake.requests.length).toBeLessThanOrEqual(7); // each lasts five seconds
});
