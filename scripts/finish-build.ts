/**
 * What tsup cannot do to `dist`: the CommonJS files load matrix-js-sdk in a way that also works under Jest, the
 * declarations pass with `skipLibCheck: false`, and the page of the demo lies beside its program.
 */
import { chmod, cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const dist = resolve(import.meta.dirname, '../dist');

/**
 * matrix-js-sdk is published as ES modules only. Node's require() takes those; Jest's does not, unless it is run with
 * --experimental-vm-modules. There the SDK is loaded outside of Jest's sandbox, which node:vm leads to.
 */
const requireSdk = `'use strict';
module.exports = function requireSdk(name, load) {
  try {
    return load();
  } catch (error) {
    if (process.env.JEST_WORKER_ID === undefined) throw error;
    const { getBuiltinModule } = require('node:vm').runInThisContext('process');
    return getBuiltinModule('node:module').createRequire(__filename)(name);
  }
};
`;

/** A file that the declarations of matrix-js-sdk 43.0.0 refer to, and that its package lacks. */
const sdkTypes = `declare module '*/@types/matrix-sdk-crypto-wasm.d.ts' {
  export type SecretsBundleJson = object;
}
`;

function finishCode(code: string): string {
  return code.replaceAll(
    /require\((["'])(matrix-js-sdk[^"']*)\1\)/g,
    (load, _quote, name: string) => `require("./require-sdk.cjs")("${name}", () => ${load})`,
  );
}

function finishTypes(file: string, types: string): string {
  // Imports of nothing, which the bundler leaves where types have moved to a file that several entries share.
  let finished = types.replaceAll(/^import '[^'.][^']*';\n/gm, '');
  if (file.endsWith('.d.cts')) {
    // From a CommonJS file only its types can be taken.
    finished = finished.replaceAll(
      /^import (?:type )?(\{[^}]*\}) from '((?:matrix-js-sdk|@nestjs\/)[^']*)';/gm,
      "import type $1 from '$2' with { 'resolution-mode': 'import' };",
    );
  }
  finished = finished.replaceAll(/^(import .* from 'msw';)/gm, '// @ts-ignore: an optional peer\n$1');
  return finished.includes("'matrix-js-sdk") ? `/// <reference path="./sdk-types.d.ts" />\n${finished}` : finished;
}

await writeFile(join(dist, 'require-sdk.cjs'), requireSdk);
for (const file of await readdir(dist)) {
  const isTypes = /\.d\.c?ts$/.test(file);
  if (!isTypes && !(file.endsWith('.cjs') && file !== 'require-sdk.cjs')) continue;
  const before = await readFile(join(dist, file), 'utf8');
  const after = isTypes ? finishTypes(file, before) : finishCode(before);
  if (after !== before) await writeFile(join(dist, file), after);
}
await writeFile(join(dist, 'sdk-types.d.ts'), sdkTypes);
await cp(resolve(dist, '../demo/page'), join(dist, 'demo-page'), { recursive: true });
await chmod(join(dist, 'cli.js'), 0o755);
