import type { OnApplicationShutdown, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import type { ClientCallback } from '../callbacks/callback.js';
import { invalidOptions } from '../core/errors.js';
import type { MatrixClientManager } from '../manager/matrix-client-manager.js';
import { getMatrixToken } from './inject-matrix.js';
import { matrixEventsOf } from './on-matrix-event.js';

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];
type Methods = Readonly<Record<string, unknown>>;

/** The token of the hooks of a manager. */
export function hooksToken(name: string | undefined): string {
  return `ManagerLifecycleHooks:${name ?? ''}`;
}

/** Connects a manager with the life of the application. */
export class ManagerLifecycleHooks implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  readonly #manager: MatrixClientManager;
  readonly #name: string | undefined;
  readonly #discovery: DiscoveryService;
  readonly #scanner: MetadataScanner;

  constructor(
    manager: MatrixClientManager,
    name: string | undefined,
    discovery: DiscoveryService,
    scanner: MetadataScanner,
  ) {
    this.#manager = manager;
    this.#name = name;
    this.#discovery = discovery;
    this.#scanner = scanner;
  }

  /** Registers the methods with `@OnMatrixEvent()`. Nest calls this before the hooks of the modules that use this one. */
  onModuleInit(): void {
    const providers = this.#discovery.getProviders();
    if (providers.filter(({ token }) => token === hooksToken(this.#name)).length > 1) {
      const which = this.#name === undefined ? 'without a name' : `with the name ${JSON.stringify(this.#name)}`;
      throw invalidOptions(`two MatrixModules ${which}: give each manager a \`name\` of its own`);
    }
    const tokens = new Set(providers.map(({ token }) => token));
    const seen = new Set<unknown>(); // `useExisting` lists an instance twice
    for (const wrapper of [...providers, ...this.#discovery.getControllers()]) {
      const prototype = prototypeOf(wrapper);
      if (!prototype || (wrapper.instance && seen.has(wrapper.instance))) continue;
      seen.add(wrapper.instance);
      for (const method of this.#scanner.getAllMethodNames(prototype))
        this.#register(wrapper, prototype, method, tokens);
    }
  }

  /**
   * Ends handlers and streams of events. Nest calls this before it waits for open responses, which a stream would make it do
   * for ever, and before the application's later hooks close what handlers use.
   */
  async onModuleDestroy(): Promise<void> {
    await this.#manager.shutdown().catch(() => {}); // a failure must not prevent the later hooks
  }

  /** Reports a failure of the shutdown. */
  async onApplicationShutdown(): Promise<void> {
    await this.#manager.shutdown();
  }

  #register(wrapper: Wrapper, prototype: Methods, method: string, tokens: ReadonlySet<unknown>): void {
    for (const { name, ...options } of matrixEventsOf(Reflect.get(prototype, method))) {
      const where = `@OnMatrixEvent() of ${wrapper.name}.${method}`;
      if (!tokens.has(getMatrixToken(name))) {
        throw invalidOptions(`${where} names the manager ${JSON.stringify(name)}, and no MatrixModule provides it`);
      }
      if (name !== this.#name) continue;
      if (wrapper.isTransient || !wrapper.isDependencyTreeStatic()) {
        throw invalidOptions(
          `${where} needs a provider that exists once, and ${wrapper.name} is made for each ${wrapper.isTransient ? 'injection' : 'request'}`,
        );
      }
      const instance = wrapper.instance as Methods;
      const call: ClientCallback = (...args) => (Reflect.get(instance, method) as ClientCallback).apply(instance, args);
      this.#manager.onEvent(call, options);
    }
  }
}

/** Undefined for a provider that is no object, such as a value. */
function prototypeOf({ instance, metatype, isAlias }: Wrapper): Methods | undefined {
  if (isAlias) return undefined;
  const prototype: unknown =
    typeof instance === 'object' && instance !== null
      ? Object.getPrototypeOf(instance)
      : (metatype as { readonly prototype?: unknown } | null)?.prototype;
  return typeof prototype === 'object' && prototype !== null ? (prototype as Methods) : undefined;
}
