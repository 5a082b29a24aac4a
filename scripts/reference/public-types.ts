import { resolve } from 'node:path';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../..');
const entries = [
  'src/index.ts',
  'src/testing/index.ts',
  'src/undici/index.ts',
  'src/sse/index.ts',
  'src/nestjs/index.ts',
].map((path) => resolve(root, path));

/** A property of an interface or of an object type. */
export interface Field {
  readonly name: string;
  readonly isOptional: boolean;
  /** As the source has it; unions of words are spelled out. */
  readonly type: string;
  /** The doc comment; empty where it has none. */
  readonly meaning: string;
  /** The doc comment of its type, where that is a type of the package; else empty. */
  readonly meaningOfType: string;
  /** The tag `@default`. */
  readonly fallback: string | undefined;
}

/** Reads what the package exports, with its doc comments, from the source. */
export class PublicTypes {
  readonly #checker: ts.TypeChecker;
  readonly #exported = new Map<string, ts.Symbol>();

  constructor() {
    const program = ownSourceOnly();
    this.#checker = program.getTypeChecker();
    for (const entry of entries) {
      const source = program.getSourceFile(entry);
      const module = source && this.#checker.getSymbolAtLocation(source);
      for (const symbol of module ? this.#checker.getExportsOfModule(module) : []) {
        this.#exported.set(symbol.name, this.#target(symbol));
      }
    }
  }

  get names(): Iterable<string> {
    return this.#exported.keys();
  }

  docOf(name: string): string {
    return this.#doc(this.#symbol(name));
  }

  /** The properties of an interface, those that it inherits last; of a union of object types those of all members. */
  fieldsOf(name: string): Field[] {
    return this.#fields(this.#checker.getDeclaredTypeOfSymbol(this.#symbol(name)));
  }

  /** For an interface of listeners: the properties of what each listener gets, by name. */
  payloadsOf(name: string): ReadonlyMap<string, { readonly meaning: string; readonly fields: readonly Field[] }> {
    const listeners = this.#checker.getDeclaredTypeOfSymbol(this.#symbol(name)).getProperties();
    return new Map(
      listeners.map((listener) => {
        const [signature] = this.#checker.getTypeOfSymbol(listener).getCallSignatures();
        const parameter = signature?.getParameters()[0];
        if (!parameter) throw new Error(`expected ${name}.${listener.name} to be a function with a parameter`);
        const fields = this.#fields(this.#checker.getTypeOfSymbol(parameter));
        return [listener.name, { meaning: this.#doc(listener), fields }];
      }),
    );
  }

  /** For an interface whose properties are object types: the properties of each of those, by name. */
  nestedFieldsOf(name: string): ReadonlyMap<string, { readonly meaning: string; readonly fields: readonly Field[] }> {
    const properties = this.#checker.getDeclaredTypeOfSymbol(this.#symbol(name)).getProperties();
    return new Map(
      properties.map((property) => {
        const fields = this.#fields(this.#checker.getTypeOfSymbol(property));
        return [property.name, { meaning: this.#doc(property), fields }];
      }),
    );
  }

  #symbol(name: string): ts.Symbol {
    const symbol = this.#exported.get(name);
    if (!symbol) throw new Error(`expected the package to export ${name}`);
    return symbol;
  }

  #target(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  #fields(type: ts.Type): Field[] {
    const members = type.isUnion() ? type.types : [type];
    const names = new Set(members.flatMap((member) => member.getProperties().map((property) => property.name)));
    return [...names].map((name) => {
      const found = members.flatMap((member) => member.getProperty(name) ?? []);
      const fields = found.map((property) => this.#field(property));
      const [first] = fields as [Field, ...Field[]];
      return {
        ...first,
        isOptional: fields.length < members.length || fields.some(({ isOptional }) => isOptional),
        type: [...new Set(fields.map((field) => field.type))].join(' | '),
        meaning: fields.find(({ meaning }) => meaning !== '')?.meaning ?? '',
      };
    });
  }

  #field(property: ts.Symbol): Field {
    const declaration = property.valueDeclaration ?? property.declarations?.[0];
    if (!declaration) throw new Error(`expected ${property.name} to be declared in the source`);
    const defaultTag = property.getJsDocTags(this.#checker).find(({ name }) => name === 'default');
    return {
      name: property.name,
      isOptional: (property.flags & ts.SymbolFlags.Optional) !== 0,
      type: this.#typeText(declaration),
      meaning: this.#doc(property),
      meaningOfType: this.#docOfType(declaration),
      fallback: defaultTag && ts.displayPartsToString(defaultTag.text).replaceAll(/\s+/g, ' '),
    };
  }

  #typeText(declaration: ts.Declaration): string {
    if (ts.isMethodSignature(declaration)) {
      const parameters = declaration.parameters.map((parameter) => parameter.getText()).join(', ');
      return `(${parameters}) => ${declaration.type?.getText() ?? 'void'}`;
    }
    const type = typeNodeOf(declaration);
    if (!type) throw new Error(`expected ${declaration.getText()} to have a type`);
    if (ts.isIndexedAccessTypeNode(type)) {
      const [indexed] = this.#checker.getTypeFromTypeNode(type).getCallSignatures();
      if (indexed)
        return this.#checker.signatureToString(indexed, undefined, ts.TypeFormatFlags.WriteArrowStyleSignature);
    }
    const words = this.#words(type);
    if (words) return words.join(' | ');
    return type
      .getText()
      .replaceAll(/\/\*[^]*?\*\//g, '')
      .replace(/^\|\s*/, '')
      .replace(/ \| undefined$/, '')
      .replaceAll(/\breadonly /g, '');
  }

  /** Of a name for a union of words, the words, in the order of the source where they stand there. */
  #words(node: ts.TypeNode): string[] | undefined {
    const type = this.#checker.getTypeFromTypeNode(node);
    if (!ts.isTypeReferenceNode(node) || !type.isUnion()) return undefined;
    if (!type.types.every((member) => member.isStringLiteral())) return undefined;
    const alias = this.#declarationOfType(node)?.declarations?.find(ts.isTypeAliasDeclaration)?.type;
    if (alias && ts.isUnionTypeNode(alias) && alias.types.every(ts.isLiteralTypeNode)) {
      return alias.types.map((word) => word.getText());
    }
    return type.types.map((member) => (member.isStringLiteral() ? `'${member.value}'` : ''));
  }

  #docOfType(declaration: ts.Declaration): string {
    const type = typeNodeOf(declaration);
    if (!type || !ts.isTypeReferenceNode(type)) return '';
    const target = this.#declarationOfType(type);
    return target?.declarations?.some((node) => node.getSourceFile().fileName.startsWith(`${root}/src/`))
      ? this.#doc(target)
      : '';
  }

  #declarationOfType(node: ts.TypeReferenceNode): ts.Symbol | undefined {
    const symbol = this.#checker.getSymbolAtLocation(node.typeName);
    return symbol && this.#target(symbol);
  }

  #doc(symbol: ts.Symbol): string {
    const text = ts.displayPartsToString(symbol.getDocumentationComment(this.#checker));
    const specification = symbol.declarations
      ?.map(
        (node) =>
          /@see (\S+)/.exec(
            ts
              .getJSDocCommentsAndTags(node)
              .map((doc) => doc.getText())
              .join('\n'),
          )?.[1],
      )
      .find((link) => link !== undefined);
    return specification === undefined ? text : `${text} See the [specification](${specification}).`.trim();
  }
}

/** Without the packages that the source imports, and of the standard library `Pick` and the like: that is seconds less. */
function ownSourceOnly(): ts.Program {
  const options: ts.CompilerOptions = {
    strict: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es5.d.ts'],
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const resolveOne = (specifier: string, from: string): ts.ResolvedModuleWithFailedLookupLocations =>
    specifier.startsWith('.') ? ts.resolveModuleName(specifier, from, options, host) : { resolvedModule: undefined };
  return ts.createProgram(entries, options, {
    ...host,
    resolveModuleNameLiterals: (literals, from) => literals.map(({ text }) => resolveOne(text, from)),
  });
}

function typeNodeOf(declaration: ts.Declaration): ts.TypeNode | undefined {
  return ts.isPropertySignature(declaration) || ts.isPropertyDeclaration(declaration) ? declaration.type : undefined;
}
