import { Logger, Module } from '@nestjs/common';
import type { DynamicModule, Provider, Type } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, MetadataScanner } from '@nestjs/core';
import { invalidOptions } from '../core/errors.js';
import { MatrixClientManager } from '../manager/matrix-client-manager.js';
import type { MatrixClientManagerOptions } from '../manager/options.js';
import { getMatrixToken } from './inject-matrix.js';
import { hooksToken, ManagerLifecycleHooks } from './manager-lifecycle-hooks.js';
import { MatrixHealthIndicator } from './matrix-health-indicator.js';
import type { MatrixModuleAsyncOptions, MatrixModuleOptions, MatrixOptionsFactory } from './matrix-module-options.js';
import { nestLogger } from './nest-logger.js';

type Instance = Pick<MatrixModuleOptions, 'name' | 'isGlobal'>;

/**
 * Provides a `MatrixClientManager`. Methods with `@OnMatrixEvent()` receive its events. It is shut down with the
 * application: call `app.enableShutdownHooks()`, so that this happens on SIGTERM, too. Logs to Nest's logger, unless
 * `logger` is set. For several managers, for example one per tenant, use the module several times with a `name`.
 *
 * @example
 * imports: [MatrixModule.forRoot({ homeserverUrl, admin: { userId, accessToken } })]
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- how Nest's modules are
export class MatrixModule {
  /** With options that are known at once. */
  static forRoot({ name, isGlobal, ...options }: MatrixModuleOptions): DynamicModule {
    return moduleOf({ name, isGlobal }, [{ provide: optionsToken(name), useValue: options }], []);
  }

  /** With options from a factory, for example from a configuration service. */
  static forRootAsync(options: MatrixModuleAsyncOptions): DynamicModule {
    const { name, imports = [] } = options;
    return moduleOf(options, optionsProviders(optionsToken(name), options), imports);
  }
}

// Decorators by hand, because the library is compiled without support for them.
Module({})(MatrixModule);

function moduleOf(
  { name, isGlobal = true }: Instance,
  options: readonly Provider[],
  imports: NonNullable<DynamicModule['imports']>,
): DynamicModule {
  const token = getMatrixToken(name);
  const manager: Provider = {
    provide: token,
    useFactory: (given: MatrixClientManagerOptions) => {
      const context = ['MatrixClientManager', name].filter(Boolean).join(':');
      const { logger = nestLogger(new Logger(context)), ...others } = { ...given };
      return new MatrixClientManager({ ...others, logger });
    },
    inject: [optionsToken(name)],
  };
  const hooks: Provider = {
    provide: hooksToken(name),
    useFactory: (made: MatrixClientManager, discovery: DiscoveryService, scanner: MetadataScanner) =>
      new ManagerLifecycleHooks(made, name, discovery, scanner),
    inject: [token, DiscoveryService, MetadataScanner],
  };
  const health: Provider = {
    provide: MatrixHealthIndicator,
    useFactory: (made: MatrixClientManager) => new MatrixHealthIndicator(made),
    inject: [token],
  };
  const isDefault = name === undefined;
  return {
    module: MatrixModule,
    global: isGlobal,
    imports: [...imports, DiscoveryModule],
    providers: [...options, manager, hooks, ...(isDefault ? [health] : [])],
    exports: [token, ...(isDefault ? [MatrixHealthIndicator] : [])],
  };
}

function optionsToken(name: string | undefined): string {
  return `MatrixClientManagerOptions:${name ?? ''}`;
}

/** The provider of the manager's options, after those that it needs. */
function optionsProviders(provide: string, options: MatrixModuleAsyncOptions): Provider[] {
  const { useFactory, inject = [], useClass, useExisting } = options;
  const count = [useFactory, useClass, useExisting].filter((maker) => maker !== undefined).length;
  const maker = useClass ?? useExisting;
  if (count !== 1) {
    throw invalidOptions(
      `expected one of \`useFactory\`, \`useClass\`, \`useExisting\` of MatrixModule.forRootAsync(), got ${count}`,
    );
  }
  if (useFactory) return [{ provide, useFactory, inject }];
  const fromInstance: Provider = { provide, useFactory: optionsOf, inject: [maker as Type<MatrixOptionsFactory>] };
  return useClass ? [{ provide: useClass, useClass }, fromInstance] : [fromInstance];
}

async function optionsOf(maker: MatrixOptionsFactory): Promise<MatrixClientManagerOptions> {
  return maker.createMatrixOptions();
}
