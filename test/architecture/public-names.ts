import { join } from 'node:path';
import ts from 'typescript';
import { sourceRoot } from './source-files.js';

/** The entries of the package, in the order of their listing. */
export const entries = ['index.ts', 'testing/index.ts', 'undici/index.ts', 'sse/index.ts', 'nestjs/index.ts'] as const;

/** One for all entries: the compiler takes seconds for the whole library. */
let program: ts.Program | undefined;

/**
 * What an entry exports, a name a line, each with what it is: `class`, `function`, `const`, or `type` for what exists
 * for the compiler only. Of classes and interfaces the members are listed too, of unions of words the words.
 */
export function publicNames(entry: (typeof entries)[number]): string[] {
  program ??= ts.createProgram(
    entries.map((path) => join(sourceRoot, path)),
    { ...compilerOptions(), noEmit: true },
  );
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(join(sourceRoot, entry));
  const module = source && checker.getSymbolAtLocation(source);
  if (!module) throw new Error(`expected src/${entry} to be a module`);
  return checker
    .getExportsOfModule(module)
    .map((symbol) => describe(symbol, checker))
    .toSorted((a, b) => nameOf(a).localeCompare(nameOf(b), 'en'));
}

function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(sourceRoot, '../tsconfig.json'), (path) => ts.sys.readFile(path));
  const { compilerOptions } = config as { compilerOptions: object };
  return ts.convertCompilerOptionsFromJson(compilerOptions, join(sourceRoot, '..')).options;
}

function describe(exported: ts.Symbol, checker: ts.TypeChecker): string {
  const { name } = exported;
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const members = membersOf(symbol, checker);
  if (isTypeOnly(exported)) return `type ${name}${members || wordsOf(symbol, checker)}`;
  if (symbol.flags & ts.SymbolFlags.Class) return `class ${name}${members}`;
  return symbol.flags & ts.SymbolFlags.Function ? `function ${name}` : `const ${name}`;
}

/** Whether it is exported by `export type`: a class so exported cannot be made with `new`. */
function isTypeOnly({ declarations }: ts.Symbol): boolean {
  return declarations?.some((node) => ts.isExportSpecifier(node) && ts.isTypeOnlyExportDeclaration(node)) ?? false;
}

/** Of a union of words, the words. */
function wordsOf(symbol: ts.Symbol, checker: ts.TypeChecker): string {
  const type = checker.getDeclaredTypeOfSymbol(symbol);
  if (!type.isUnion() || !type.types.every((member) => member.isStringLiteral())) return '';
  return ` = ${type.types
    .map((member) => (member.isStringLiteral() ? member.value : ''))
    .toSorted((a, b) => a.localeCompare(b, 'en'))
    .join(' | ')}`;
}

function membersOf(symbol: ts.Symbol, checker: ts.TypeChecker): string {
  if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) return '';
  const members = checker
    .getDeclaredTypeOfSymbol(symbol)
    .getProperties()
    .filter(isPublic)
    .map(({ name, flags }) => `${memberName(name)}${flags & ts.SymbolFlags.Optional ? '?' : ''}`);
  return members.length === 0 ? '' : ` { ${members.toSorted((a, b) => a.localeCompare(b, 'en')).join(', ')} }`;
}

function isPublic({ name, valueDeclaration, declarations }: ts.Symbol): boolean {
  const declaration = valueDeclaration ?? declarations?.[0];
  // What a class inherits from Error and the like is not ours to list.
  return !name.startsWith('#') && declaration !== undefined && !inLibrary(declaration);
}

/** Symbols come as `__@asyncDispose@123`. */
function memberName(name: string): string {
  return name.startsWith('__@') ? `[Symbol.${name.slice(3, name.lastIndexOf('@'))}]` : name;
}

function inLibrary(declaration: ts.Declaration): boolean {
  return declaration.getSourceFile().fileName.includes('/node_modules/');
}

function nameOf(line: string): string {
  return line.split(' ')[1] ?? '';
}
