import type { RequestHandler } from 'msw';
import { ConnectionDropped } from './connection-dropped.js';

/** Request handlers with which msw answers for the fake homeserver. msw is loaded only here: it is an optional peer. */
export async function mswHandlers(
  baseUrl: string,
  answer: (request: Request) => Promise<Response>,
): Promise<RequestHandler[]> {
  const { http, HttpResponse } = await import('msw');
  return [
    http.all(`${baseUrl}/*`, async ({ request }) => {
      try {
        return await answer(request);
      } catch (error) {
        if (error instanceof ConnectionDropped) return HttpResponse.error();
        throw error;
      }
    }),
  ];
}
