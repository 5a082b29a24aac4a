import { Module } from '@nestjs/common';
import { UsersModule } from '../users/users.module.js';
import { NotificationsController } from './notifications.controller.js';
import { Notifications } from './notifications.js';

@Module({ imports: [UsersModule], controllers: [NotificationsController], providers: [Notifications] })
export class NotificationsModule {}
