import { describe, expect, it } from 'vitest';
import type { Provisioner } from '../../src/index.js';
import { managerOnFake } from '../support/manager-on-fake.js';
import { rejection } from '../support/rejection.js';

const alice = '@alice:hs.test';

describe('the name of a device', () => {
  const names = (manager: ReturnType<typeof managerOnFake>['manager']): Promise<(string | undefined)[]> =>
    manager.admin.listDevices(alice).then((devices) => devices.map(({ displayName }) => displayName));

  it('is the one that the call gives, else the option, else that of the library', async () => {
    const { manager, make } = managerOnFake();
    await manager.provisionUser({ username: 'alice' });
    await make({ deviceName: 'Support desk' }).provisionUser({ username: 'alice', deviceId: 'E' });
    await manager.provisionUser({ username: 'alice', deviceId: 'F', deviceName: 'Kiosk' });
    expect(new Set(await names(manager))).toEqual(new Set(['Kiosk', 'Support desk', 'matrix-client-manager']));
  });

  it('is handed to a provisioner of the application, and refused where it is none', async () => {
    const { make, fake } = managerOnFake();
    const opened: unknown[] = [];
    const provisioner: Provisioner = {
      capabilities: { renewsSessions: true, deactivatesUsers: true },
      ensureUser: async () => ({ created: true }),
      openSession: async (request) => {
        opened.push(request.deviceName);
        return fake.createUser({ username: 'alice' });
      },
      closeSession: async () => {},
      deactivateUser: async () => {},
    };
    await make({ provisioner, deviceName: 'Desk' }).provisionUser({ username: 'alice' });
    expect(opened).toEqual(['Desk']);
    expect(() => make({ deviceName: '' })).toThrow(/`deviceName`/);
    expect(await rejection(make().provisionUser({ username: 'a', deviceName: 5 as never }))).toMatchObject({
      code: 'INVALID_OPTIONS',
    });
  });
});
