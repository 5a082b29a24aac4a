import { Module } from '@nestjs/common';
import { UsersModule } from '../users/users.module.js';
import { ChatController } from './chat.controller.js';
import { ChatGateway } from './chat.gateway.js';

@Module({ imports: [UsersModule], controllers: [ChatController], providers: [ChatGateway] })
export class ChatModule {}
