import { dirname, join } from 'node:path';
import ts from 'typescript';

/** What the blocks of the documentation take for granted. A block that declares a name of its own hides it. */
const preamble = `
import type { AdminAccount, ClientEvent, MatrixClientManager } from 'matrix-client-manager';
declare global {
  const manager: MatrixClientManager;
  const admin: AdminAccount;
  const homeserverUrl: string;
  const userId: string;
  const roomId: string;
  const eventId: string;
  function notify(event: ClientEvent): Promise<void>;
}
`;

/**
 * Type-checks each block as a module of the repository; returns what the compiler complains about.
 * @param blocks - code by the path that its module is to have, from `root`; blocks in one folder can import each other
 */
export function compileBlocks(blocks: ReadonlyMap<string, string>, root: string): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path));
  const { compilerOptions } = config as { compilerOptions: object };
  const { options } = ts.convertCompilerOptionsFromJson(compilerOptions, root);
  const sources = new Map([...blocks].map(([path, code]) => [join(root, path), `${code}\nexport {};\n`]));
  const folders = new Set([...sources.keys()].map((path) => dirname(path)));
  sources.set(join(root, 'block-preamble.d.ts'), preamble);
  const host = ts.createCompilerHost(options);
  const program = ts.createProgram([...sources.keys()], options, {
    ...host,
    fileExists: (path) => sources.has(path) || host.fileExists(path),
    directoryExists: (path) => folders.has(path) || ts.sys.directoryExists(path),
    readFile: (path) => sources.get(path) ?? host.readFile(path),
    getSourceFile: (path, languageVersion, ...rest) => {
      const code = sources.get(path);
      if (code === undefined) return host.getSourceFile(path, languageVersion, ...rest);
      return ts.createSourceFile(path, code, languageVersion);
    },
  });
  return [...sources.keys()].flatMap((path) => {
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => `${path.slice(root.length)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
    );
  });
}
