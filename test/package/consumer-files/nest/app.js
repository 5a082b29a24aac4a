// A Nest application as TypeScript compiles one, with its decorators applied by hand.
'use strict';
const { Controller, Get, Inject, Injectable, Module } = require('@nestjs/common');
const { APP_FILTER } = require('@nestjs/core');
const { HealthCheckService, TerminusModule } = require('@nestjs/terminus');
const { MatrixClientManager } = require('matrix-client-manager');
const nest = require('matrix-client-manager/nestjs');

/** `decorate(decorators, Class, 'method')` */
function decorate(decorators, target, method) {
  const descriptor = method && Object.getOwnPropertyDescriptor(target.prototype, method);
  for (const decorator of decorators) decorator(method ? target.prototype : target, method, descriptor);
}

class ChatService {
  constructor(matrix, red) {
    Object.assign(this, { matrix, red, received: [], waiting: [] });
  }

  async onMessage(event) {
    this.received.push(event.text);
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  async until(text) {
    while (!this.received.includes(text)) await new Promise((resolve) => this.waiting.push(resolve));
  }
}
decorate([Injectable()], ChatService);
Inject(MatrixClientManager)(ChatService, undefined, 0);
nest.InjectMatrix('red')(ChatService, undefined, 1);
decorate([nest.OnMatrixEvent({ types: ['message'] })], ChatService, 'onMessage');

class ChatController {
  constructor(chat, health, matrix) {
    Object.assign(this, { chat, health, matrix });
  }

  page() {
    return this.chat.matrix.getRoomMessages({ roomId: '!unknown:hs.test', userId: this.chat.userId });
  }

  check() {
    return this.health.check([() => this.matrix.isHealthy()]);
  }
}
decorate([Controller()], ChatController);
Inject(ChatService)(ChatController, undefined, 0);
Inject(HealthCheckService)(ChatController, undefined, 1);
Inject(nest.MatrixHealthIndicator)(ChatController, undefined, 2);
decorate([Get('page')], ChatController, 'page');
decorate([Get('health')], ChatController, 'check');

/** @param optionsOf - the manager's options by name */
exports.appModule = function appModule(optionsOf) {
  // oxlint-disable-next-line typescript/no-extraneous-class -- how Nest's modules are
  class AppModule {}
  const imports = [
    nest.MatrixModule.forRootAsync({ useFactory: async () => optionsOf() }),
    nest.MatrixModule.forRoot({ name: 'red', ...optionsOf('red') }),
    TerminusModule.forRoot({ logger: false }),
  ];
  const providers = [ChatService, { provide: APP_FILTER, useClass: nest.MatrixExceptionFilter }];
  decorate([Module({ imports, providers, controllers: [ChatController] })], AppModule);
  return AppModule;
};
exports.ChatService = ChatService;
