import { context, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes } from '@opentelemetry/api';
import type { TracedWork, TraceName } from '../core/diagnostic-messages.js';
import type { SpanSource } from '../core/diagnostics.js';
import { isManagerError } from '../core/errors.js';
import { ignoringErrors, safeSpanStarter } from './contained.js';

interface SpanDescription<Name extends TraceName> {
  readonly name: string;
  /** Whether the span has no parent. */
  readonly root?: boolean;
  /** @param serverAddress - the value of an attribute that most spans have */
  readonly attributes: (message: TracedWork[Name]['message'], serverAddress: string) => Attributes;
  /** Attributes that are known at the end of the work. */
  readonly endAttributes?: (result: TracedWork[Name]['result']) => Attributes;
}

/** The spans, by the name of the traced work. Other traced work gets none. */
const descriptions: { readonly [Name in TraceName]?: SpanDescription<Name> } = {
  clientStart: { name: 'matrix.client.start', attributes: () => ({}), endAttributes: ({ resumed }) => ({ resumed }) },
  sync: {
    name: 'matrix.sync',
    root: true,
    attributes: ({ kind }, serverAddress) => ({ kind, 'server.address': serverAddress }),
  },
  callback: {
    name: 'matrix.callback',
    attributes: ({ event: { type, provenance } }, serverAddress) => {
      return { type, provenance, 'server.address': serverAddress };
    },
  },
  send: { name: 'matrix.send', attributes: (_send, serverAddress) => ({ 'server.address': serverAddress }) },
  provision: {
    name: 'matrix.provision',
    attributes: (_request, serverAddress) => ({ 'server.address': serverAddress }),
  },
};

/**
 * The library's spans. A failed span has the code of the error, not its message, which may contain a user or room id.
 * Without a registered tracer there are none.
 */
export function openTelemetrySpans(serverAddress: string, provider = trace.getTracerProvider()): SpanSource {
  const startSpan = safeSpanStarter(provider);
  return {
    begin(name, message) {
      const description = descriptions[name];
      if (!description) return undefined;
      const root = description.root === true;
      const span = startSpan(description.name, { attributes: description.attributes(message, serverAddress), root });
      if (!span) return undefined;
      return {
        run: (work) => context.with(trace.setSpan(root ? ROOT_CONTEXT : context.active(), span), work),
        end: (end) =>
          ignoringErrors(() => {
            if (description.endAttributes && end.result) span.setAttributes(description.endAttributes(end.result));
            if (end.outcome === 'failed') {
              span.setStatus({ code: SpanStatusCode.ERROR });
              span.setAttribute('error.type', errorType(end.error));
            }
            span.end();
          }, undefined),
      };
    },
    detached: (run) => context.with(ROOT_CONTEXT, run),
  };
}

/** Code of the error; spans and metrics contain no error message. */
export function errorType(error: unknown): string {
  return isManagerError(error) ? error.code : '_OTHER';
}
