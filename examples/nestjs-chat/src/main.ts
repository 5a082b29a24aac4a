import 'reflect-metadata';
import { Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { config } from './config.js';

const app = await NestFactory.create(AppModule, { logger: ['log', 'warn', 'error', 'fatal'] });
app.enableShutdownHooks(); // SIGTERM: the managers first, then the HTTP server
await app.listen(config.port);
new Logger('Main').log(`Listening on ${await app.getUrl()}`);
