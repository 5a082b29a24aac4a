import type { HomeserverTarget } from './target.js';

export type Json = Record<string, unknown>;

/** A response of a homeserver, successful or not. */
export interface JsonResponse<Body> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Headers;
}

type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Template tag for a path: percent-encodes each value. */
export function path(strings: TemplateStringsArray, ...values: string[]): string {
  return String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(value)));
}

/** Plain HTTP to the homeserver, with an access token or without. Does not retry, and resolves for every status. */
export class RawHttp {
  readonly target: HomeserverTarget;
  readonly accessToken: string | undefined;

  constructor(target: HomeserverTarget, accessToken?: string) {
    this.target = target;
    this.accessToken = accessToken;
  }

  get<Body = Json>(url: string, query?: Query): Promise<JsonResponse<Body>> {
    return this.#send('GET', url, undefined, query);
  }

  put<Body = Json>(url: string, body: unknown = {}): Promise<JsonResponse<Body>> {
    return this.#send('PUT', url, JSON.stringify(body));
  }

  post<Body = Json>(url: string, body: unknown = {}): Promise<JsonResponse<Body>> {
    return this.#send('POST', url, JSON.stringify(body));
  }

  delete<Body = Json>(url: string, body?: unknown): Promise<JsonResponse<Body>> {
    return this.#send('DELETE', url, JSON.stringify(body));
  }

  /** Sends a POST with an unchanged body, for JSON that `JSON.stringify` cannot write. */
  postText<Body = Json>(url: string, body: string): Promise<JsonResponse<Body>> {
    return this.#send('POST', url, body);
  }

  async #send<Body>(method: string, url: string, body?: string, query: Query = {}): Promise<JsonResponse<Body>> {
    const full = new URL(this.target.baseUrl + url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) full.searchParams.set(name, String(value));
    }
    const headers = new Headers();
    if (this.accessToken !== undefined) headers.set('authorization', `Bearer ${this.accessToken}`);
    if (body !== undefined) headers.set('content-type', 'application/json');
    const fetch = this.target.fetch ?? globalThis.fetch;
    const response = await fetch(full, { method, headers, ...(body === undefined ? {} : { body }) });
    return { status: response.status, body: (await response.json()) as Body, headers: response.headers };
  }
}
