import { Body, Controller, Get, HttpCode, Param, Post, Query, UseGuards } from '@nestjs/common';
import type { MessagePage, RoomSummaryPage } from 'matrix-client-manager';
import { CurrentUser, SignedInGuard } from '../users/signed-in.guard.js';
import { Users } from '../users/users.js';
import type { User } from '../users/users.js';

interface MemberResult {
  readonly userId: string;
  readonly status: string;
}

/** The library checks every argument, and MatrixExceptionFilter answers 400 for a bad one. No pipe has to repeat that. */
@Controller('rooms')
@UseGuards(SignedInGuard)
export class ChatController {
  constructor(private readonly users: Users) {}

  @Post()
  async create(
    @CurrentUser() user: User,
    @Body('name') name: string,
    @Body('usernames') usernames: string[] = [],
  ): Promise<{ roomId: string; members: MemberResult[] }> {
    const { roomId } = await user.matrix.rooms.create({ userId: user.userId, name });
    return { roomId, members: await this.#ensureMembers(user, roomId, usernames) };
  }

  @Post(':roomId/members')
  async addMembers(
    @CurrentUser() user: User,
    @Param('roomId') roomId: string,
    @Body('usernames') usernames: string[],
  ): Promise<{ members: MemberResult[] }> {
    return { members: await this.#ensureMembers(user, roomId, usernames) };
  }

  /** The user's rooms with unread counts, newest activity first. */
  @Get()
  async list(@CurrentUser() user: User, @Query('from') from?: string): Promise<RoomSummaryPage> {
    return user.matrix.listRooms(user.userId, { from });
  }

  /** A page of a room's history, newest first. */
  @Get(':roomId/messages')
  async history(
    @CurrentUser() { matrix, userId }: User,
    @Param('roomId') roomId: string,
    @Query('from') from?: string,
  ): Promise<MessagePage> {
    return matrix.getRoomMessages({ userId, roomId, from });
  }

  @Post(':roomId/read')
  @HttpCode(204)
  async markRead(
    @CurrentUser() { matrix, userId }: User,
    @Param('roomId') roomId: string,
    @Body('eventId') eventId: string,
  ): Promise<void> {
    await matrix.markRead({ userId, roomId, eventId });
  }

  /** Invites the users and has them join: their Matrix accounts belong to this application. */
  async #ensureMembers(by: User, roomId: string, usernames: string[]): Promise<MemberResult[]> {
    const members = await this.users.find(by.tenant, usernames); // only users of the same tenant
    const userIds = members.map(({ userId }) => userId);
    const results = await by.matrix.rooms.ensureMember({ roomId, userIds, by: by.userId });
    return results.map(({ userId, status }) => ({ userId, status }));
  }
}
