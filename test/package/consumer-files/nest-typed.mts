import { Module } from '@nestjs/common';
import type { MatrixClientManager } from 'matrix-client-manager';
import { MatrixModule, getMatrixToken, nestLogger } from 'matrix-client-manager/nestjs';
import { pipeToSse } from 'matrix-client-manager/sse';
import type { ServerResponse } from 'node:http';

export const matrixModule = MatrixModule.forRoot({ homeserverUrl: 'https://hs.test', logger: nestLogger() });
export const decorator = Module({ imports: [matrixModule] });
export const token = getMatrixToken('red');
export async function watch(manager: MatrixClientManager, response: ServerResponse): Promise<string> {
  const { reason } = await pipeToSse(await manager.connect({ userId: '@a:hs.test' }), response, { lastEventId: null });
  return reason;
}
