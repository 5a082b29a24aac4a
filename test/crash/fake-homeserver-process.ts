// The fake homeserver in a process of its own, so that it survives the workers; its parent drives it by messages.
import { FakeHomeserver } from '../../src/testing/index.js';

export type FakeCommand =
  | { readonly do: 'limit'; readonly limit: number; readonly omitLimited: boolean }
  | { readonly do: 'stale'; readonly stale: boolean }
  | { readonly do: 'restart' }
  | { readonly do: 'killTokens'; readonly userId: string }
  | { readonly do: 'slowHistory'; readonly ms: number }
  | { readonly do: 'failing'; readonly probability: number };

const fake = new FakeHomeserver();
let endFaults: (() => void)[] = [];

process.on('message', (command: FakeCommand) => {
  if (command.do === 'limit') fake.limitTimelines(command.limit, { omitLimited: command.omitLimited });
  else if (command.do === 'stale') fake.staleSync = command.stale;
  else if (command.do === 'restart') fake.restart();
  else if (command.do === 'killTokens') fake.killTokens(command.userId);
  else setFaults(command);
  fake.clearRequests();
});
process.on('disconnect', () => process.exit());

function setFaults(command: Extract<FakeCommand, { do: 'slowHistory' | 'failing' }>): void {
  if (command.do === 'slowHistory') {
    for (const end of endFaults) end();
    endFaults = [];
    if (command.ms > 0) endFaults.push(fake.faults.latency({ endpoint: '/rooms/{roomId}/messages' }, command.ms));
    return;
  }
  const { probability } = command;
  if (probability === 0) return;
  endFaults.push(fake.faults.status({ endpoint: '/sync', probability }, { status: 502 }));
  endFaults.push(fake.faults.drop({ endpoint: '/rooms/{roomId}/messages', probability }));
  endFaults.push(fake.faults.truncatedJson({ endpoint: '/rooms/{roomId}/messages', probability }));
}

const { userId, accessToken } = fake.admin;
process.send?.({ homeserverUrl: await fake.listen(), admin: { userId, accessToken } });
