import { expect, it } from 'vitest';
import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { managerOnFake } from '../support/manager-on-fake.js';

/** Every property is a method that does what `act` does, and whose result is such a thing again. */
function providerThat(act: () => void): unknown {
  const thing: unknown = new Proxy(() => {}, {
    get: (_target, key) => (key === 'then' ? undefined : thing),
    apply: () => {
      act();
      return thing;
    },
  });
  return thing;
}

const broken = {
  'throws at the first call': () =>
    providerThat(() => {
      throw new Error('no');
    }),
  'throws from the second call on': () => {
    let calls = 0;
    return providerThat(() => {
      if (calls++ > 0) throw new Error('no');
    });
  },
  'throws from the hundredth call on': () => {
    let calls = 0;
    return providerThat(() => {
      if (calls++ > 100) throw new Error('no');
    });
  },
  'gives nothing': () => ({ getMeter: () => undefined, getTracer: () => null }),
};

it.each(Object.entries(broken))(
  'a telemetry provider that %s disturbs nothing, and stats() counts',
  async (_title, make) => {
    const { manager, fake, soon } = managerOnFake({
      meterProvider: make() as MeterProvider,
      tracerProvider: make() as TracerProvider,
    });
    const alice = fake.createUser({ username: 'alice' });
    const roomId = fake.createRoom({ creator: alice.userId });
    await soon(manager.startClient(alice));
    expect(await soon(manager.sendMessage({ userId: alice.userId, roomId, text: 'hello' }))).toHaveProperty('eventId');
    expect(manager.stats()).toMatchObject({ starts: { fresh: { count: 1 } }, sends: { sent: { count: 1 } } });
    await soon(manager.shutdown());
    await fake.close();
  },
);
