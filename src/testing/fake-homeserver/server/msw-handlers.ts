import type { RequestHandler } from 'msw';
import { ConnectionDropped } from './connection-dropped.js';

/** Creates msw request handlers that call the fake homeserver. msw is an optional peer, so it is loaded on demand. */
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
