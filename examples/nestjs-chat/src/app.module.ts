import { Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { MatrixExceptionFilter } from 'matrix-client-manager/nestjs';
import { ChatModule } from './chat/chat.module.js';
import { HealthModule } from './health/health.module.js';
import { NotificationsModule } from './notifications/notifications.module.js';

@Module({
  imports: [ChatModule, NotificationsModule, HealthModule],
  providers: [{ provide: APP_FILTER, useClass: MatrixExceptionFilter }],
})
export class AppModule {}
