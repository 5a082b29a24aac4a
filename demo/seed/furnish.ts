import type { MatrixClientManager } from 'matrix-client-manager';
import type { People, Person } from './people.js';
import { paintSunset } from './picture.js';
import { bookTalk } from './talk.js';

export interface Furnishing {
  readonly manager: MatrixClientManager;
  readonly people: People;
  /** Number of old messages in the room with a long history. */
  readonly history: number;
  readonly signal?: AbortSignal | undefined;
}

/** Makes the rooms that the page begins with: one to talk in, one with a long history, and a direct room. */
export async function furnish({ manager, people, history, signal }: Furnishing): Promise<void> {
  const [alice, bob] = [...people.values()];
  if (!alice || !bob) throw new Error('expected two users');
  const say = async (from: Person, roomId: string, text: string, replyTo?: string): Promise<string> => {
    signal?.throwIfAborted();
    const { eventId } = await manager.sendMessage({ userId: from.userId, roomId, text, replyTo });
    return eventId;
  };
  const openRoom = async (name: string): Promise<string> => {
    const { roomId } = await manager.rooms.create({ userId: alice.userId, name, invite: [bob.userId] });
    await manager.rooms.join({ userId: bob.userId, roomId });
    return roomId;
  };

  const direct = await manager.rooms.findOrCreateDirect({ userId: alice.userId, otherUserId: bob.userId });
  await manager.rooms.join({ userId: bob.userId, roomId: direct.roomId });
  await say(alice, direct.roomId, 'Do you have a minute?');

  const books = await openRoom('Book club');
  for (const [index, text] of bookTalk(history).entries()) {
    const eventId = await say(index % 2 === 0 ? alice : bob, books, text);
    const isLast = index === history - 1;
    for (const { userId } of isLast ? [alice, bob] : []) await manager.markRead({ userId, roomId: books, eventId });
  }
  await say(bob, books, 'The next meeting is on Thursday at seven.');

  const picnic = await openRoom('Summer picnic');
  await say(alice, picnic, 'Hello Bob! Is Saturday still fine for the picnic by the lake?');
  const yes = await say(bob, picnic, 'Yes! I bring the salad. And the good blanket.');
  await manager.sendReaction({ userId: alice.userId, roomId: picnic, eventId: yes, key: '❤️' });
  const file = { name: 'lake.png', mimeType: 'image/png', ...paintSunset(480, 270) };
  await manager.sendFile({ userId: alice.userId, roomId: picnic, file });
  await say(alice, picnic, 'The lake was like this last night 🌅');
  const time = await say(bob, picnic, 'Lovely. At noon?');
  await manager.sendMessage({ userId: bob.userId, roomId: picnic, text: 'Lovely. At one?', edits: time });
  await say(alice, picnic, 'One is perfect. See you there!', time);
}
