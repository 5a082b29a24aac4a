import { Logger, UseFilters } from '@nestjs/common';
import { ConnectedSocket, MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import type { OnGatewayConnection, OnGatewayDisconnect, OnGatewayInit } from '@nestjs/websockets';
import { isManagerError } from 'matrix-client-manager';
import type { ClientEvent, Connection, RoomMessage } from 'matrix-client-manager';
import { MatrixExceptionFilter } from 'matrix-client-manager/nestjs';
import type { Server, Socket } from 'socket.io';
import { SignIn } from '../users/sign-in.js';
import type { User } from '../users/users.js';

interface SocketData {
  user: User;
  /** Open while the socket is: keeps the user's client live. */
  connection: Promise<Connection>;
  /** Ends the wait for the connection. */
  readonly gone: AbortController;
  /** Ends the typing notifications and receipts of a room that the user looks at. */
  readonly openRooms: Map<string, () => void>;
}

type ChatSocket = Socket<
  never,
  { event: (event: ClientEvent) => void; exception: (error: object) => void },
  never,
  SocketData
>;

/** What a browser gets of all rooms, and besides of the rooms that it has joined. */
const OF_ALL_ROOMS = ['message', 'reaction', 'redaction', 'membership', 'invite', 'unread'];
const OF_JOINED_ROOMS = ['typing', 'receipt'];

@WebSocketGateway()
@UseFilters(MatrixExceptionFilter)
export class ChatGateway implements OnGatewayInit, OnGatewayConnection, OnGatewayDisconnect {
  readonly #logger = new Logger('ChatGateway');

  constructor(private readonly signIn: SignIn) {}

  /** Sockets without a valid token are refused before they are connected. */
  afterInit(server: Server): void {
    server.use((socket: ChatSocket, next) => {
      this.signIn.userOf(String(socket.handshake.auth['token'])).then(
        (user) => {
          socket.data.user = user;
          next();
        },
        (error: Error) => next(new Error(error.message)),
      );
    });
  }

  handleConnection(socket: ChatSocket): void {
    const { matrix, userId } = socket.data.user;
    const gone = new AbortController();
    const connection = matrix.connect({
      userId,
      signal: gone.signal,
      types: OF_ALL_ROOMS,
      callback: (event) => void socket.emit('event', event),
    });
    Object.assign(socket.data, { gone, connection, openRooms: new Map() });
    connection.catch((error: Error) => {
      if (gone.signal.aborted) return;
      this.#logger.warn(`No connection for ${userId}: ${error.message}`);
      socket.emit('exception', { status: 'error', error: isManagerError(error) ? error.code : 'INTERNAL' });
      socket.disconnect();
    });
  }

  async handleDisconnect({ data }: ChatSocket): Promise<void> {
    data.gone.abort();
    const connection = await data.connection.catch(() => undefined);
    await connection?.close(); // the client stays live until the user is idle
  }

  /**
   * The user looks at a room. Answers with what came after `lastEventId`, or with the newest messages if that is too much;
   * oldest first. The socket gets live events all the while, so the browser drops those whose `eventId` it has.
   */
  @SubscribeMessage('join')
  async join(
    @ConnectedSocket() socket: ChatSocket,
    @MessageBody('roomId') roomId: string,
    @MessageBody('lastEventId') lastEventId?: string,
  ): Promise<{ messages: RoomMessage[]; isContinuation: boolean }> {
    const { openRooms } = socket.data;
    const connection = await socket.data.connection;
    const answer = await missedOrNewest(connection, roomId, lastEventId); // throws if the user may not read the room
    openRooms.get(roomId)?.();
    const forward = (event: ClientEvent): void => void socket.emit('event', event);
    openRooms.set(roomId, connection.addCallback(forward, { types: OF_JOINED_ROOMS, rooms: [roomId] }));
    return answer;
  }

  @SubscribeMessage('leave')
  leave(@ConnectedSocket() { data }: ChatSocket, @MessageBody('roomId') roomId: string): true {
    data.openRooms.get(roomId)?.();
    data.openRooms.delete(roomId);
    return true;
  }

  /** `id` is the browser's own id of the message: if it sends it again after a break, the room has it once. */
  @SubscribeMessage('message')
  async send(
    @ConnectedSocket() { data }: ChatSocket,
    @MessageBody('roomId') roomId: string,
    @MessageBody('text') text: string,
    @MessageBody('id') id?: string,
  ): Promise<{ eventId: string }> {
    const { matrix, userId } = data.user;
    const { eventId } = await matrix.sendMessage({ userId, roomId, text, txnId: id, durable: true });
    return { eventId };
  }

  @SubscribeMessage('typing')
  async typing(
    @ConnectedSocket() { data }: ChatSocket,
    @MessageBody('roomId') roomId: string,
    @MessageBody('typing') typing: boolean,
  ): Promise<true> {
    const { matrix, userId } = data.user;
    await matrix.sendTyping({ userId, roomId, typing });
    return true;
  }

  @SubscribeMessage('read')
  async read(
    @ConnectedSocket() { data }: ChatSocket,
    @MessageBody('roomId') roomId: string,
    @MessageBody('eventId') eventId: string,
  ): Promise<true> {
    const { matrix, userId } = data.user;
    await matrix.markRead({ userId, roomId, eventId });
    return true;
  }
}

async function missedOrNewest(
  connection: Connection,
  roomId: string,
  lastEventId: string | undefined,
): Promise<{ messages: RoomMessage[]; isContinuation: boolean }> {
  if (lastEventId !== undefined) {
    const types = ['message', 'reaction', 'redaction'];
    const missed = await connection.getRoomMessages({ roomId, after: lastEventId, types });
    if (missed.end === undefined) return { messages: missed.messages, isContinuation: true };
  }
  const newest = await connection.getRoomMessages({ roomId });
  return { messages: newest.messages.toReversed(), isContinuation: false };
}
