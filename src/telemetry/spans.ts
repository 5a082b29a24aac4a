import { context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes, Span, Tracer, TracerProvider } from '@opentelemetry/api';
import { isManagerError } from '../core/errors.js';
import { ignoringErrors, safeSpanStarter } from './contained.js';

/**
 * The library's traces. A failed span has the code of the error, not its message, which may contain a user or room id.
 * Without a registered tracer, the spans are no-ops.
 */
export class Spans {
  readonly #startSpan: Tracer['startSpan'];

  constructor(provider: TracerProvider = trace.getTracerProvider()) {
    this.#startSpan = safeSpanStarter(provider);
  }

  /** Runs `work` in a span. Spans that `work` starts are its children. */
  run<T>(name: string, attributes: Attributes, work: () => T | Promise<T>): Promise<T> {
    const span = this.#startSpan(name, { attributes });
    return context.with(trace.setSpan(context.active(), span), () => endSpanAfter(span, work));
  }

  /** Starts a child of the active span. End it with {@link endSpan}. */
  begin(name: string): Span {
    return this.#startSpan(name);
  }

  /** Starts a span without a parent. End it with {@link runAndEnd}. */
  beginRoot(name: string, attributes: Attributes): Span {
    return this.#startSpan(name, { attributes, root: true });
  }

  /** Runs `work` in `span`, and ends the span. */
  runAndEnd<T>(span: Span, work: () => Promise<T>): Promise<T> {
    return context.with(trace.setSpan(ROOT_CONTEXT, span), () => endSpanAfter(span, work));
  }

  /** Runs `run` outside of the active span. */
  detached<T>(run: () => T): T {
    return context.with(ROOT_CONTEXT, run);
  }
}

export function endSpan(span: Span, errorCode?: string): void {
  ignoringErrors(() => {
    if (errorCode !== undefined) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute('error.type', errorCode);
    }
    span.end();
  }, undefined);
}

/** Code of the error; spans and metrics contain no error message. */
export function errorType(error: unknown): string {
  return isManagerError(error) ? error.code : '_OTHER';
}

async function endSpanAfter<T>(span: Span, work: () => T | Promise<T>): Promise<T> {
  try {
    const result = await work();
    endSpan(span);
    return result;
  } catch (error) {
    endSpan(span, errorType(error));
    throw error;
  }
}
