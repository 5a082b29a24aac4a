import { context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes, Span, Tracer, TracerProvider } from '@opentelemetry/api';
import { isManagerError } from '../core/errors.js';
import { quietly, spanStarterOf } from './contained.js';

/**
 * The library's traces. A failed span shows the error's code and not its message, which may name a user or a room.
 * Where no tracer is registered, all of this does next to nothing.
 */
export class Spans {
  readonly #startSpan: Tracer['startSpan'];

  constructor(provider: TracerProvider = trace.getTracerProvider()) {
    this.#startSpan = spanStarterOf(provider);
  }

  /** A span that ends with `work` and is the parent of what `work` does. */
  run<T>(name: string, attributes: Attributes, work: () => T | Promise<T>): Promise<T> {
    const span = this.#startSpan(name, { attributes });
    return context.with(trace.setSpan(context.active(), span), () => ending(span, work));
  }

  /** A span within what is under way now, to be ended by {@link endSpan}. */
  begin(name: string): Span {
    return this.#startSpan(name);
  }

  /** A span that is nobody's part, to be ended by {@link within}. */
  beginRoot(name: string, attributes: Attributes): Span {
    return this.#startSpan(name, { attributes, root: true });
  }

  /** Does `work` as a part of `span`, and ends it. */
  within<T>(span: Span, work: () => Promise<T>): Promise<T> {
    return context.with(trace.setSpan(ROOT_CONTEXT, span), () => ending(span, work));
  }

  detached<T>(run: () => T): T {
    return context.with(ROOT_CONTEXT, run);
  }
}

export function endSpan(span: Span, errorCode?: string): void {
  quietly(() => {
    if (errorCode !== undefined) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', errorCode);
    }
    span.end();
  }, undefined);
}

/** What an error is called where its message must not be shown. */
export function errorType(error: unknown): string {
  return isManagerError(error) ? error.code : '_OTHER';
}

async function ending<T>(span: Span, work: () => T | Promise<T>): Promise<T> {
  try {
    const result = await work();
    endSpan(span);
    return result;
  } catch (error) {
    endSpan(span, errorType(error));
    throw error;
  }
}
