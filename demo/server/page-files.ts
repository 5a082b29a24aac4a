import { readFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Refusal } from './failures.js';

const types: ReadonlyMap<string, string> = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.svg', 'image/svg+xml'],
]);

/** Beside this file's folder in the repository, and beside the program in the package. */
const folders = ['../page/', './demo-page/'].map((path) => new URL(path, import.meta.url));
const folder = folders.find((url) => existsSync(new URL('index.html', url)));

const pageFile = /^\/[a-z-]+\.(?:html|css|js|svg)$/;

/** Answers with a file of the page. */
export async function sendPageFile(response: ServerResponse, pathname: string): Promise<void> {
  const path = pathname === '/' ? '/index.html' : pathname;
  if (!pageFile.test(path) || !folder) throw new Refusal(404, 'NOT_FOUND');
  const body = await readFile(fileURLToPath(new URL(`.${path}`, folder))).catch(() => {
    throw new Refusal(404, 'NOT_FOUND');
  });
  // Checked at each load, so that the page is that of the running server.
  response.writeHead(200, { 'content-type': types.get(extname(path)) ?? '', 'cache-control': 'no-cache' });
  response.end(body);
}
