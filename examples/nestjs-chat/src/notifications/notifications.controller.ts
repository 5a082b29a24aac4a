import { Controller, Get, UseGuards } from '@nestjs/common';
import { CurrentUser, SignedInGuard } from '../users/signed-in.guard.js';
import type { User } from '../users/users.js';
import { Notifications } from './notifications.js';
import type { Notification } from './notifications.js';

@Controller('notifications')
@UseGuards(SignedInGuard)
export class NotificationsController {
  constructor(private readonly notifications: Notifications) {}

  @Get()
  list(@CurrentUser() { userId }: User): Notification[] {
    return this.notifications.list(userId);
  }
}
