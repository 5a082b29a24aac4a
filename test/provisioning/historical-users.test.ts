import { describe, expect, it } from 'vitest';
import { managerOnFake } from '../support/manager-on-fake.js';
import { Recorder } from '../support/recorder.js';

describe.each(['@ünï:hs.test', '@al ice:hs.test', '@Upper:hs.test', '@😀:hs.test', '@a/b c%#?:hs.test', '@:hs.test'])(
  'the historical user %s',
  (userId) => {
    it('has a client, sends, reads, is heard, renewed and forgotten as anybody', async () => {
      const { fake, manager, soon, count } = managerOnFake();
      const { accessToken, deviceId } = fake.createUser({ userId });
      const alice = fake.createUser({ username: 'alice' });
      const roomId = fake.createRoom({ creator: userId, members: [alice.userId] });
      const heard = new Recorder();
      await soon(manager.startClient({ ...alice, callbacks: [heard.callback] }));
      await soon(manager.startClient({ userId, accessToken, deviceId }));
      await soon(manager.sendMessage({ userId, roomId, text: 'hello', durable: true }));
      expect(await soon(heard.message('hello'))).toMatchObject({ sender: userId });
      await soon(manager.sendTyping({ userId, roomId, typing: true }));
      const typing = await soon(heard.first((event) => event.type === 'typing'));
      expect(typing).toMatchObject({ userIds: [userId] });
      fake.killTokens(userId);
      const page = await soon(manager.getRoomMessages({ userId, roomId }));
      expect(page.messages[0]).toMatchObject({ sender: userId, content: { body: 'hello' } });
      await soon(manager.sendMessage({ userId, roomId, text: 'renewed' }));
      expect(await manager.admin.getUser(userId)).toMatchObject({ userId });
      await manager.admin.setDisplayName(userId, 'Historical');
      expect(await manager.admin.listDevices(userId)).toMatchObject([{ deviceId }]);
      await soon(manager.forgetUser(userId));
      expect(manager.hasClient(userId)).toBe(false);
      expect(count('/logout')).toBe(1);
      await soon(manager.shutdown());
    });
  },
);
