import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../../src/index.js';
import type { Connection, ConnectionState, MatrixClientManagerOptions } from '../../src/index.js';
import { Recorder } from '../support/recorder.js';
import { managersOn } from './managers.js';
import type { Homeserver } from './managers.js';

/** What `connect()` promises, the same on the fake homeserver and on a real one. */
export function connections(name: string, homeserver: () => Homeserver): void {
  describe(`a connection on ${name}`, () => {
    const { makeManager, run } = managersOn(homeserver);

    async function setUp(username: string, options: Partial<MatrixClientManagerOptions> = {}) {
      const manager = makeManager({ storage: memoryStorage(), ...options });
      const { userId } = await manager.provisionUser({ username: `${username}-${run}` });
      const recorder = new Recorder();
      const connection = await manager.connect({ userId, callback: recorder.callback });
      const { room_id: roomId } = await manager.withClient(userId, (client) => client.createRoom({}));
      return { manager, userId, roomId, recorder, connection };
    }

    function reaches(connection: Connection, state: ConnectionState): Promise<void> {
      return new Promise((resolve) => {
        if (connection.state === state) return resolve();
        connection.on('stateChanged', ({ to }) => to === state && resolve());
      });
    }

    it('keeps its client, which another user gets the place of when it is closed', async () => {
      const { manager, userId, roomId, recorder, connection } = await setUp('watching', { maxClients: 1 });
      const { userId: other } = await manager.provisionUser({ username: `waiting-${run}` });
      const starting = manager.startClient({ userId: other });
      await manager.sendMessage({ userId, roomId, text: 'while watched' });
      await recorder.message('while watched');
      expect(connection.state).toBe('live');
      expect(manager.clientInfo(userId)).toMatchObject({ state: 'live', connections: 1 });
      expect(manager.clientInfo(other)).toMatchObject({ state: 'starting' });
      await connection.close();
      expect(await starting).toMatchObject({ state: 'live' });
      expect(manager.hasClient(userId)).toBe(false);
    });

    it('follows a stop and the next start, and gets what came between', async () => {
      const { manager, userId, roomId, recorder, connection } = await setUp('stopped');
      await manager.stopClient(userId);
      expect(connection.state).toBe('stopped');
      await manager.sendMessage({ userId, roomId, text: 'while stopped' });
      await manager.startClient({ userId });
      expect(connection.state).toBe('live');
      await manager.sendMessage({ userId, roomId, text: 'live again' });
      await recorder.message('live again');
      expect(recorder.bodies()).toEqual(['while stopped', 'live again']);
    });

    it('tells that its user was deactivated, and has nothing started again', async () => {
      const { manager, userId, connection } = await setUp('deactivated');
      const logsOut = reaches(connection, 'loggedOut');
      await makeManager().admin.deactivateUser(userId); // by another process
      await logsOut;
      expect(connection.error).toMatchObject({ code: 'USER_DEACTIVATED' });
      expect(manager.hasClient(userId)).toBe(false);
      await expect(manager.connect({ userId })).rejects.toMatchObject({ code: 'USER_DEACTIVATED' });
    });
  });
}
