import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { EventHub } from '../../src/manager/event-hub.js';

describe('a listener that is registered twice', () => {
  const event = { userId: '@alice:x', previousDeviceId: 'A', deviceId: 'B' } as never;

  function setUp() {
    const hub = new EventHub(silentLogger);
    let calls = 0;
    const listener = (): void => void calls++;
    const removals = [hub.on('deviceReplaced', listener), hub.on('deviceReplaced', listener)];
    const emit = (): number => {
      calls = 0;
      hub.emit('deviceReplaced', event);
      return calls;
    };
    return { hub, listener, removals, emit };
  }

  it('is called twice, and each returned function removes one registration, once', () => {
    const { removals, emit } = setUp();
    expect(emit()).toBe(2);
    removals[0]?.();
    removals[0]?.();
    expect(emit()).toBe(1);
    removals[1]?.();
    expect(emit()).toBe(0);
  });

  it('is removed as a whole by off()', () => {
    const { hub, listener, emit } = setUp();
    hub.off('deviceReplaced', listener);
    expect(emit()).toBe(0);
  });
});
