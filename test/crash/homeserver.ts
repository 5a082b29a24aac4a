import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startSynapse } from '../../scripts/synapse/start-synapse.js';
import type { FakeCommand } from './fake-homeserver-process.js';

/** A homeserver that outlives the workers, and how it can be made to misbehave. */
export interface CrashHomeserver extends AsyncDisposable {
  readonly name: 'fake' | 'Synapse';
  readonly homeserverUrl: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  restart(): Promise<void>;
  /** Undefined where the homeserver does not misbehave on command. */
  readonly command: ((command: FakeCommand) => void) | undefined;
}

export async function fakeHomeserver(): Promise<CrashHomeserver> {
  const script = fileURLToPath(new URL('fake-homeserver-process.ts', import.meta.url));
  const child = fork(script, { execArgv: ['--no-warnings', '--import', 'tsx'] });
  const [connection] = (await once(child, 'message')) as [Pick<CrashHomeserver, 'homeserverUrl' | 'admin'>];
  const command = (command: FakeCommand): void => void child.send(command);
  return {
    ...connection,
    name: 'fake',
    command,
    restart: async () => command({ do: 'restart' }),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await once(child, 'exit');
    },
  };
}

export async function synapse(): Promise<CrashHomeserver> {
  const running = await startSynapse();
  return {
    name: 'Synapse',
    homeserverUrl: running.baseUrl,
    admin: running.admin,
    command: undefined,
    restart: () => running.restart(),
    [Symbol.asyncDispose]: () => running.stop(),
  };
}
