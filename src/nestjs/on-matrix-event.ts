import { SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { ManagerCallbackOptions } from '../callbacks/callback.js';

/** The options of `@OnMatrixEvent()`. */
export interface OnMatrixEventOptions extends ManagerCallbackOptions {
  /** The name of the manager, if it has one. @default none */
  readonly name?: string | undefined;
}

const KEY = 'matrix-client-manager:on-matrix-event';
const reflector = new Reflector();

/**
 * Registers a method of a provider or controller as `manager.onEvent()` does, before any client starts that is started after
 * the creation of the application's providers. The method receives the event and `{ signal }`. If it throws, it is called
 * again, and the event becomes a dead letter in the end. A method may have several of these decorators.
 *
 * @example
 * @OnMatrixEvent({ types: ['message'] })
 * async onMessage(event: ClientEvent) {}
 */
export function OnMatrixEvent(options: OnMatrixEventOptions = {}): MethodDecorator {
  return (target, propertyKey, descriptor: PropertyDescriptor) => {
    const all = [options, ...matrixEventsOf(descriptor.value)];
    SetMetadata(KEY, all)(target, propertyKey, descriptor);
  };
}

/** The options of the decorators of a method. */
export function matrixEventsOf(method: unknown): readonly OnMatrixEventOptions[] {
  if (typeof method !== 'function') return [];
  return reflector.get<readonly OnMatrixEventOptions[] | undefined>(KEY, method as () => unknown) ?? [];
}
