import { FakeHomeserver } from 'matrix-client-manager/testing';
import { setupServer } from 'msw/node';

const handlers = await new FakeHomeserver().handlers();
export const server = setupServer(...handlers);
// @ts-expect-error the handlers are typed, not `any`
export const wrong: string = handlers[0];
