import { describe, expect, it } from 'vitest';
import type { Session } from '../../src/http/session.js';
import { UnencryptedFileError } from '../../src/sending/outgoing-message.js';
import type { OutgoingMessage } from '../../src/sending/outgoing-message.js';
import { RoomSender } from '../../src/sending/room-sender.js';
import type { MessageEncryption, SendingCaller, SendingClient } from '../../src/sending/room-sender.js';
import { alice, httpOnScript, room, sessionOf } from '../messages/support/http-on-script.js';
import { rejection } from '../support/rejection.js';
import { json, matrixError } from '../support/scripted-fetch.js';
import type { ScriptedFetch } from '../support/scripted-fetch.js';

const { signal } = new AbortController();
const message: OutgoingMessage = {
  userId: alice,
  roomId: room,
  type: 'm.room.message',
  content: { body: 'hello' },
  txnId: 'txn',
  signal,
};
const notEncrypted = () => matrixError(404, 'M_NOT_FOUND');
const isEncryptedRoom = () => json({ algorithm: 'm.megolm.v1.aes-sha2' });
const accepted = () => json({ event_id: '$sent' });
const encryption: MessageEncryption = {
  hasRoom: () => true,
  encrypt: async ({ content }) => ({ content: { ciphertext: JSON.stringify(content) } }),
};

interface Options {
  readonly answers: ConstructorParameters<typeof ScriptedFetch>;
  readonly hasEncryption?: boolean;
  /** The client that the user has; it runs if `isRunning`. */
  readonly client?: Partial<Pick<SendingClient, 'encryption' | 'isEncrypted'>>;
  readonly isRunning?: boolean;
  /** Whether some user has seen the room encrypted. */
  readonly wasSeen?: boolean | Error | (() => boolean);
}

function setUp({ answers, hasEncryption = true, client = {}, isRunning = false, wasSeen = false }: Options) {
  const { http, requests, asked, session } = httpOnScript(answers);
  const events: unknown[] = [];
  const seen: unknown[] = [];
  const sessionOfClient = sessionOf('@client:hs.test');
  const userSession: SendingClient = {
    session: sessionOfClient,
    encryption,
    isEncrypted: (_roomId, askHomeserver) => askHomeserver(),
    timelines: { noteSent: (...sent) => events.push(['sent', ...sent]) },
    ...client,
  };
  const caller: SendingCaller = { session, ...(isRunning && { userSession }) };
  const sender = new RoomSender({
    http,
    users: {
      runAs: (userId, use, until) => {
        events.push(['run', userId, until === signal]);
        return use(caller);
      },
      withLease: (userId, use, until) => {
        events.push(['lease', userId, until === signal]);
        return use(userSession);
      },
    },
    hasEncryption: () => hasEncryption,
    encryptedRooms: {
      has: async () => {
        if (wasSeen instanceof Error) throw wasSeen;
        return typeof wasSeen === 'boolean' ? wasSeen : wasSeen();
      },
      note: (rooms) => seen.push(...rooms),
    },
    onSent: async (by: Session, roomId) => void events.push(['ended typing', by.userId, roomId]),
  });
  const paths = () => requests.map(({ method, url }) => `${method} ${decodeURIComponent(new URL(url).pathname)}`);
  return { sender, requests, asked, events, seen, paths, caller };
}

const STATE = `GET /_matrix/client/v3/rooms/${room}/state/m.room.encryption/`;
const MEMBERSHIP = `GET /_matrix/client/v3/rooms/${room}/state/m.room.member/${alice}`;
const sentAs = (type: string): string => `PUT /_matrix/client/v3/rooms/${room}/send/${type}/txn`;

describe('a message to a room', () => {
  it('that is not encrypted is sent as it is, without a client', async () => {
    const { sender, requests, paths, events, asked } = setUp({ answers: [notEncrypted(), accepted()] });
    expect(await sender.send(message)).toEqual({ eventId: '$sent' });
    expect(paths()).toEqual([STATE, sentAs('m.room.message')]);
    expect(requests[1]).toMatchObject({ body: { body: 'hello' }, authorization: `Bearer token-of-${alice}` });
    expect(asked.every((request) => request.signal === signal)).toBe(true);
    expect(events).toEqual([
      ['run', alice, true],
      ['ended typing', alice, room],
    ]);
  });

  it('that is encrypted starts the client and is sent encrypted, with the session of the client', async () => {
    const { sender, requests, paths, events } = setUp({ answers: [isEncryptedRoom(), accepted()] });
    expect(await sender.send(message)).toEqual({ eventId: '$sent' });
    expect(paths()).toEqual([STATE, sentAs('m.room.encrypted')]);
    expect(requests[1]).toMatchObject({
      body: { ciphertext: '{"body":"hello"}' },
      authorization: 'Bearer token-of-@client:hs.test',
    });
    expect(events).toContainEqual(['lease', alice, true]);
  });

  it('uses a client that runs, which is told of the event', async () => {
    const { sender, paths, events } = setUp({ answers: [isEncryptedRoom(), accepted()], isRunning: true });
    await sender.send(message);
    expect(paths()).toEqual([STATE, sentAs('m.room.encrypted')]);
    expect(events).toEqual([
      ['run', alice, true],
      ['sent', room, '$sent'],
      ['ended typing', alice, room],
    ]);
  });

  it('needs no request for the state of the room where the client knows it', async () => {
    const client = { isEncrypted: async () => false };
    const { sender, paths } = setUp({ answers: [accepted()], client, isRunning: true });
    await sender.send(message);
    expect(paths()).toEqual([sentAs('m.room.message')]);
  });

  it('of a type that is never encrypted is sent as it is by its user', async () => {
    const { sender, requests, paths } = setUp({ answers: [accepted()], isRunning: true, hasEncryption: false });
    await sender.send({ ...message, type: 'm.reaction' });
    expect(paths()).toEqual([sentAs('m.reaction')]);
    expect(requests[0]?.authorization).toBe(`Bearer token-of-${alice}`);
  });
});

describe('a message to an encrypted room is not sent', () => {
  const unavailable = { code: 'ENCRYPTION_UNAVAILABLE', userId: alice, roomId: room };

  it('by a user without encryption', async () => {
    const { sender, paths, events } = setUp({ answers: [isEncryptedRoom()], hasEncryption: false });
    const error = await rejection(sender.send(message));
    expect(error).toMatchObject(unavailable);
    expect(error.message).toBe(
      `sending to ${room} failed: the room is encrypted, and encryption is not enabled for ${alice}; nothing was sent`,
    );
    expect(paths()).toEqual([STATE]);
    expect(events).toEqual([['run', alice, true]]);
  });

  it('by a client without encryption', async () => {
    const { sender, paths } = setUp({ answers: [isEncryptedRoom()], client: { encryption: undefined } });
    expect(await rejection(sender.send(message))).toMatchObject(unavailable);
    expect(paths()).toEqual([STATE]);
  });

  it('when encrypting fails', async () => {
    const failing = { ...encryption, encrypt: () => Promise.reject(new Error('no key')) };
    const { sender, paths, events } = setUp({ answers: [isEncryptedRoom()], client: { encryption: failing } });
    await expect(sender.send(message)).rejects.toThrow('no key');
    expect(paths()).toEqual([STATE]);
    expect(events).not.toContainEqual(expect.arrayContaining(['ended typing']));
  });

  it('nor to a room of which the homeserver does not say whether it is', async () => {
    const { sender, paths } = setUp({ answers: [matrixError(403, 'M_FORBIDDEN')] });
    expect(await rejection(sender.send(message))).toMatchObject({ code: 'FORBIDDEN', roomId: room });
    expect(paths()).toEqual([STATE]);
  });
});

describe('a room that some user has seen encrypted', () => {
  it('is encrypted, without asking the homeserver, for a user without a client', async () => {
    const { sender, paths } = setUp({ answers: [accepted()], wasSeen: true });
    await sender.send(message);
    expect(paths()).toEqual([sentAs('m.room.encrypted')]);
  });

  it('gets nothing in the clear by a user without encryption', async () => {
    const { sender, paths } = setUp({ answers: [], wasSeen: true, hasEncryption: false });
    expect(await rejection(sender.send(message))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
    expect(paths()).toEqual([]);
  });

  it('gets nothing while it cannot be found out whether there is one', async () => {
    const { sender, paths } = setUp({ answers: [], wasSeen: new Error('disk full') });
    await expect(sender.send(message)).rejects.toThrow('disk full');
    expect(paths()).toEqual([]);
  });

  it('is noted when the homeserver says that it is encrypted, with its settings', async () => {
    const { sender, seen } = setUp({ answers: [isEncryptedRoom(), accepted(), notEncrypted(), accepted()] });
    await sender.send(message);
    await sender.send(message);
    expect(seen).toEqual([[room, { algorithm: 'm.megolm.v1.aes-sha2' }]]);
  });

  it.each([
    ['is not in it', matrixError(403, 'M_FORBIDDEN')],
    ['is no longer in it', json({ membership: 'leave' })],
    ['is only invited', json({ membership: 'invite' })],
  ])('and that the client has not received is refused at once to a user who %s', async (_, answer) => {
    const encrypt = () => new Promise<never>(() => {});
    const waiting = { ...encryption, hasRoom: () => false, encrypt };
    const client = { encryption: waiting };
    const { sender, paths } = setUp({ answers: [answer], wasSeen: true, client });
    expect(await rejection(sender.send(message))).toMatchObject({ code: 'FORBIDDEN', roomId: room });
    expect(paths()).toEqual([MEMBERSHIP]);
  });

  it('and that the client has not received is waited for by a user who is in it', async () => {
    const client = { encryption: { ...encryption, hasRoom: () => false } };
    const { sender, paths } = setUp({ answers: [json({ membership: 'join' }), accepted()], wasSeen: true, client });
    await sender.send(message);
    expect(paths()).toEqual([MEMBERSHIP, sentAs('m.room.encrypted')]);
  });
});

describe('a room that is seen encrypted just before an attempt to send to it', () => {
  /** Not seen when it is decided. */
  const seenLate = () => {
    const answers = [false];
    return { answers: [notEncrypted(), accepted()], wasSeen: () => answers.shift() ?? true };
  };

  it('gets the message encrypted', async () => {
    const { sender, requests, paths } = setUp(seenLate());
    expect(await sender.send(message)).toEqual({ eventId: '$sent' });
    expect(paths()).toEqual([STATE, sentAs('m.room.encrypted')]);
    expect(requests[1]?.body).toEqual({ ciphertext: '{"body":"hello"}' });
  });

  it('gets a reaction as it is', async () => {
    const { sender, paths } = setUp({ ...seenLate(), answers: [accepted()] });
    await sender.send({ ...message, type: 'm.reaction' });
    expect(paths()).toEqual([sentAs('m.reaction')]);
  });

  it('gets nothing by a user without encryption, and no message of a file that was uploaded in the clear', async () => {
    const without = setUp({ ...seenLate(), hasEncryption: false });
    expect(await rejection(without.sender.send(message))).toMatchObject({ code: 'ENCRYPTION_UNAVAILABLE' });
    const withFile = setUp(seenLate());
    const error = await rejection(withFile.sender.send({ ...message, isFileEncrypted: false }));
    expect(error).toBeInstanceOf(UnencryptedFileError);
    expect([...without.paths(), ...withFile.paths()]).toEqual([STATE, STATE]);
  });
});

describe('the message of a file', () => {
  it('that was uploaded encrypted is encrypted, whatever the homeserver says meanwhile', async () => {
    const { sender, paths } = setUp({ answers: [accepted()] });
    await sender.send({ ...message, isFileEncrypted: true });
    expect(paths()).toEqual([sentAs('m.room.encrypted')]);
  });

  it('that was uploaded in the clear is not sent to a room that has become encrypted', async () => {
    const { sender, paths } = setUp({ answers: [isEncryptedRoom(), notEncrypted(), accepted()] });
    const error = await rejection(sender.send({ ...message, isFileEncrypted: false }));
    expect(error).toBeInstanceOf(UnencryptedFileError);
    expect(error).toMatchObject({ code: 'ENCRYPTION_FAILED', userId: alice, roomId: room });
    expect(paths()).toEqual([STATE]);
    await sender.send({ ...message, isFileEncrypted: false });
    expect(paths()).toEqual([STATE, STATE, sentAs('m.room.message')]);
  });
});

it('says of a room whether a file for it is encrypted', async () => {
  const { sender, caller } = setUp({ answers: [notEncrypted(), isEncryptedRoom()] });
  expect(await sender.isEncrypted(caller, room, signal)).toBe(false);
  expect(await sender.isEncrypted(caller, room, signal)).toBe(true);
});
