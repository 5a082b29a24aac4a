import type { FactoryProvider, ModuleMetadata, Type } from '@nestjs/common';
import type { MatrixClientManagerOptions } from '../manager/options.js';

/** What identifies one of several managers. */
interface MatrixInstance {
  /** The name of the manager, for `@InjectMatrix(name)`, if there are several. @default none */
  readonly name?: string | undefined;
  /** Whether all modules can inject the manager without importing this one. @default true */
  readonly isGlobal?: boolean | undefined;
}

/** The options of `MatrixModule.forRoot()`: those of the manager, and its name. */
export type MatrixModuleOptions = MatrixInstance & MatrixClientManagerOptions;

/** Makes the options of a manager, for `useClass` and `useExisting`. */
export interface MatrixOptionsFactory {
  createMatrixOptions(): MatrixClientManagerOptions | Promise<MatrixClientManagerOptions>;
}

/** The options of `MatrixModule.forRootAsync()`. One of `useFactory`, `useClass` and `useExisting` makes those of the manager. */
export interface MatrixModuleAsyncOptions extends MatrixInstance {
  /** Modules whose providers `inject`, `useClass` and `useExisting` need. @default none */
  readonly imports?: ModuleMetadata['imports'];
  /** Makes the options from what `inject` names. */
  readonly useFactory?:
    // oxlint-disable-next-line typescript/no-explicit-any -- as Nest types the arguments of factories
    ((...args: any[]) => MatrixClientManagerOptions | Promise<MatrixClientManagerOptions>) | undefined;
  /** The tokens of the arguments of `useFactory`. @default none */
  readonly inject?: FactoryProvider['inject'];
  /** A class whose instance, with its own dependencies, makes the options. */
  readonly useClass?: Type<MatrixOptionsFactory> | undefined;
  /** A provider of `imports` that makes the options. */
  readonly useExisting?: Type<MatrixOptionsFactory> | undefined;
}
