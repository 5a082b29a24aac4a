import { AsyncLocalStorage } from 'node:async_hooks';
import { context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Context, ContextManager } from '@opentelemetry/api';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { WatchedManager } from './watched-manager.js';

/** What an application gets from OpenTelemetry's SDK for Node. */
class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();
  active = (): Context => this.#storage.getStore() ?? ROOT_CONTEXT;
  with: ContextManager['with'] = (active, run, self, ...args) =>
    this.#storage.run(active, () => run.apply(self as never, args));
  bind: ContextManager['bind'] = (_active, target) => target;
  enable = (): this => this;
  disable = (): this => this;
}

beforeAll(() => context.setGlobalContextManager(new AsyncContexts()));
afterAll(() => context.disable());

let watch: WatchedManager;
afterEach(() => watch.close());

const namesOf = (): string[] => watch.spans.map(({ name }) => name);

it('spans show starts, syncs with their callbacks, sends and provisioning', async () => {
  watch = new WatchedManager({ callbackAttempts: 1 });
  const { manager, fake, clock } = watch;
  const { userId } = await manager.provisionUser({ username: 'alice' });
  await manager.startClient({ userId, callbacks: [() => Promise.reject(new Error(`no ${userId}`))] });
  const roomId = fake.createRoom({ creator: userId });
  await clock.advance(100);
  await manager.sendMessage({ userId, roomId, text: 'hello' });
  await manager.sendMessage({ userId, roomId: `!none:${fake.serverName}`, text: 'no' }).catch(() => {});
  await clock.advance(100);

  expect(new Set(namesOf())).toEqual(
    new Set(['matrix.provision', 'matrix.client.start', 'matrix.sync', 'matrix.callback', 'matrix.send']),
  );
  const callback = watch.spans.findLast(({ name }) => name === 'matrix.callback');
  const sync = watch.spans.find((span) => span.spanContext().spanId === callback?.parentSpanContext?.spanId);
  expect(sync?.name).toBe('matrix.sync');
  expect(sync?.parentSpanContext).toBeUndefined();
  expect(callback).toMatchObject({
    attributes: { type: 'message', provenance: 'live', 'error.type': '_OTHER' },
    status: { code: SpanStatusCode.ERROR },
  });
  expect(callback?.status.message).toBeUndefined();
  expect(callback?.events).toEqual([]);
  const sends = watch.spans.filter(({ name }) => name === 'matrix.send');
  expect(sends.map(({ attributes }) => attributes['error.type'])).toEqual([undefined, 'FORBIDDEN']);
});

it('a send and a start are part of what the application does, syncs long after are not', async () => {
  watch = new WatchedManager();
  const { manager, fake, clock } = watch;
  const { userId } = await manager.provisionUser({ username: 'alice' });
  const roomId = fake.createRoom({ creator: userId });
  const active: (string | undefined)[] = [];
  manager.addCallback(userId, () => {
    active.push(trace.getActiveSpan()?.spanContext().traceId);
  });
  const parent = trace.wrapSpanContext({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 });
  await context.with(trace.setSpan(ROOT_CONTEXT, parent), async () => {
    await manager.startClient({ userId });
    await manager.sendMessage({ userId, roomId, text: 'hello' });
  });
  await clock.advance(100);
  const traceOf = (name: string): string[] =>
    watch.spans.filter((span) => span.name === name).map((span) => span.spanContext().traceId);
  expect(traceOf('matrix.client.start')).toEqual(['a'.repeat(32)]);
  expect(traceOf('matrix.send')).toEqual(['a'.repeat(32)]);
  expect(traceOf('matrix.sync')).not.toContain('a'.repeat(32));
  expect(active.length).toBeGreaterThan(0);
  for (const traceId of active) expect(traceOf('matrix.sync')).toContain(traceId);
});
