import type { CallbackRegistry } from '../callbacks/callback-registry.js';
import { callSchema } from '../core/call-options.js';
import type { ManagerLifecycle } from '../core/lifecycle.js';
import { checkOptions } from '../core/validation.js';
import { getRoomMessagesSchema } from '../messages/get-room-messages-options.js';
import type { PageReader } from '../messages/page-reader.js';
import { joinedRooms } from '../rooms/joined-rooms.js';
import type { RunAsActor } from '../rooms/room-calls.js';
import type { ConnectionCalls } from '../users/connection.js';
import type { UserCalls } from '../users/user-calls.js';

/** What the calls of a connection are made with. Functions, because the parts that they return are made later. */
export interface ConnectionCallsOptions {
  readonly callbacks: () => CallbackRegistry;
  readonly calls: () => UserCalls;
  readonly pages: () => PageReader;
  readonly runAs: () => RunAsActor;
  readonly lifecycle: ManagerLifecycle;
}

/** The calls of connections, which check their arguments as the methods of the manager do. */
export function connectionCalls(options: ConnectionCallsOptions): ConnectionCalls {
  const { callbacks, calls, pages, runAs, lifecycle } = options;
  return {
    addCallback: (...registration) => callbacks().add(...registration),
    getRoomMessages: async (pageOptions) => {
      lifecycle.assertOpen();
      const read = checkOptions('getRoomMessages()', getRoomMessagesSchema, pageOptions);
      return calls().readAs(read.userId, (reader, signal) => pages().read(reader, read, signal), read.signal);
    },
    getJoinedRooms: async (userId, callOptions = {}) => {
      lifecycle.assertOpen();
      const { signal } = checkOptions('getJoinedRooms()', callSchema, callOptions);
      return runAs()(userId, joinedRooms, signal);
    },
  };
}
