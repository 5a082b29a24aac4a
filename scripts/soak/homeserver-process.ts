// The fake homeserver in a process of its own, so that the heap that is measured is the library's. Its parent drives
// it by messages; every request gets one answer with the same id.
import { appendFileSync } from 'node:fs';
import { FakeHomeserver } from '../../src/testing/index.js';
import type { Fault, SoakReply, SoakRequest } from './protocol.js';

const SEND = '/rooms/{roomId}/send/{eventType}/{txnId}';

const fake = new FakeHomeserver();
const roomIds: string[] = [];
let requests = 0;

process.on('message', ({ id, ask }: SoakRequest) => {
  process.send?.({ id, answer: answer(ask) } satisfies SoakReply);
});
process.on('disconnect', () => process.exit());
setInterval(forgetRequests, 1_000);

function answer(ask: SoakRequest['ask']): unknown {
  switch (ask.do) {
    case 'rooms':
      for (const members of ask.members) {
        const [creator = '', ...others] = members;
        roomIds.push(fake.createRoom({ creator, members: others }));
      }
      return roomIds;
    case 'fill':
      return fill(ask.messagesPerRoom, ask.text);
    case 'fault':
      return begin(ask.fault, ask.forMs);
    case 'calm':
      return fake.faults.clear();
    case 'count':
      forgetRequests();
      return { inFlight: fake.inFlight, requests };
    default:
      return writeHistory(ask.file);
  }
}

/** The log of requests would grow with the run. */
function forgetRequests(): void {
  requests += fake.requests.length;
  fake.clearRequests();
}

function fill(messagesPerRoom: number, text: string): void {
  for (const roomId of roomIds) {
    const sender = fake.events(roomId)[0]?.sender ?? '';
    for (let n = 0; n < messagesPerRoom; n++) fake.sendMessage(roomId, sender, `${n} ${text}`);
  }
}

function begin(fault: Fault, forMs: number): void {
  const ends = start(fault);
  setTimeout(() => {
    for (const end of ends) end();
  }, forMs);
}

function start(fault: Fault): (() => void)[] {
  const { faults } = fake;
  const { probability } = fault;
  switch (fault.kind) {
    case 'latency':
      return [faults.latency({ probability }, fault.ms)];
    case 'rateLimit':
      return [faults.rateLimit({ probability }, { retryAfterMs: fault.ms })];
    case 'status':
      return [faults.status({ probability }, { status: fault.status })];
    case 'drop':
      return [faults.drop({ probability })];
    case 'dropAfter':
      return [faults.dropAfter({ endpoint: SEND, probability })];
    case 'truncated':
      return [
        faults.truncatedJson({ endpoint: '/sync', probability }),
        faults.truncatedJson({ endpoint: '/rooms/{roomId}/messages', probability }),
        faults.truncatedJson({ endpoint: SEND, probability }),
      ];
    case 'hang':
      return [faults.hang({ probability })];
    case 'sameNextBatch':
      return [faults.sameNextBatch({ probability })];
    case 'limited':
      return [fake.limitTimelines(fault.limit, { omitLimited: fault.omitLimited })];
    case 'restart':
      fake.restart();
      return [];
    default:
      fake.killTokens(fault.userId);
      fake.restart();
      return [];
  }
}

/** The messages of every room in their order, one line each. */
function writeHistory(file: string): number {
  let messages = 0;
  for (const [room, roomId] of roomIds.entries()) {
    for (const { type, eventId, sender, content } of fake.events(roomId)) {
      if (type !== 'm.room.message') continue;
      appendFileSync(file, `${room} ${eventId} ${sender} ${String(content['body'])}\n`);
      messages++;
    }
  }
  return messages;
}

const { userId, password } = fake.admin;
process.send?.({ id: 0, answer: { homeserverUrl: await fake.listen(), admin: { userId, password } } });
