import ts from 'typescript';
import { parse, walk } from './source-files.js';
import type { SourceFile } from './source-files.js';

/**
 * Accesses that are right as they are: own names, keys that were looked up with `Object.hasOwn`, and objects of the SDK
 * by ids that begin with `!` or `@`. Telemetry knows own names only, and what is for tests is not asked.
 */
const verified: ReadonlySet<string> = new Set([
  'sync/sliding-sync.ts: supported?.unstable_features?.[SLIDING_SYNC_FEATURE]',
  'users/activity-history.ts: habit.hours[h]',
  'sync/response-parts.ts: parent[name]',
  'sdk/sdk-feed.ts: join?.[roomId]',
  'sync/sync-response.ts: room[name]',
  'sync/sync-response.ts: room[threadCounts]',
  'core/validation.ts: input[name]',
  'core/validation.ts: (value as T | null | undefined)?.[method]',
  'core/contain.ts: logger[name]',
  'core/json-copy.ts: copy[key]',
  'core/raw-event.ts: event[decryption]',
  'core/sendable-json.ts: (source as Readonly<Record<string, unknown>>)[key]',
  'core/sendable-json.ts: (target as Record<string, unknown>)[key]',
  'core/timeline-event.ts: raw[decryption]',
  'sdk/crypto/crypto-wasm.ts: imports?.[GLUE_MODULE]',
  'sdk/crypto/event-decryptor.ts: event[decryption]',
  'sdk/crypto/event-decryptor.ts: reasons[code]',
  'encryption/store/indexed-db/globals.ts: (globalThis as Record<string, unknown>)[name]',
  'encryption/store/indexed-db/globals.ts: globals[name]',
  'encryption/store/indexed-db/globals.ts: scope[name]',
  'sdk/crypto/machine-guard.ts: guarded[name]',
  'core/own-property.ts: (object as Record<string, unknown>)[key]',
  'sdk/crypto/published-keys.ts: masterKeys?.[userId]',
  'sdk/crypto/room-encryptors.ts: this.#crypto.roomEncryptors[roomId]',
  'http/secrets.ts: fields[name]',
  'users/event-decryption.ts: event[decryption]',
  'manager/gauges.ts: clients[client.state]',
  'files/attachments.ts: flags?.[AUTHENTICATED_MEDIA_FLAG]',
  'resilience/rate-limiter.ts: this.#queues[priority]',
  'sdk/private-surface.ts: (value as Record<string, unknown>)[name]',
  'undici/decompress.ts: decoders[name as keyof typeof decoders]',
  'undici/exchange.ts: this.#values[key]',
  'undici/undici-transport.ts: options[name]',
  'undici/undici-transport.ts: this.#pools[request.lane]',
]);

/** Accesses by a key that is worked out at run time, and of which nobody has said that they are right. */
export function unverifiedAccesses(file: SourceFile): string[] {
  if (/^(telemetry|testing)\//.test(file.path)) return [];
  return computedAccesses(file).filter((access) => !verified.has(access));
}

/**
 * Where a file reaches for a property by a key that is worked out at run time: `path: expression`. If the key comes
 * from the network, `__proto__` and `constructor` reach what every object has, so it belongs into a Map. Indexes of
 * arrays are left out where they are seen to be such.
 */
function computedAccesses(file: SourceFile): string[] {
  const found: string[] = [];
  walk(parse(file), (node) => {
    if (!ts.isElementAccessExpression(node) || isIndex(node.argumentExpression)) return;
    found.push(`${file.path}: ${node.getText().replaceAll(/\s+/g, ' ')}`);
  });
  return found;
}

function isIndex(argument: ts.Expression): boolean {
  if (ts.isLiteralExpression(argument)) return true; // a name that is written there, or a number
  if (ts.isIdentifier(argument)) return /^(i|j|n|index|[a-z]*Index)$/.test(argument.text);
  if (ts.isPropertyAccessExpression(argument)) return isWellKnown(argument) || argument.name.text === 'next';
  if (ts.isPostfixUnaryExpression(argument)) return true; // numbers alone are counted up
  if (!ts.isBinaryExpression(argument)) return false;
  return (
    argument.operatorToken.kind === ts.SyntaxKind.MinusToken ||
    argument.operatorToken.kind === ts.SyntaxKind.PercentToken
  );
}

function isWellKnown(argument: ts.PropertyAccessExpression): boolean {
  return argument.getText().startsWith('Symbol.');
}
