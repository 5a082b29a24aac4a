import { createNoopMeter, INVALID_TRACEID } from '@opentelemetry/api';
import type { Meter, MeterProvider, Span, SpanOptions, TracerProvider } from '@opentelemetry/api';
import { libraryVersion } from '../core/version.js';

/** The result of `measure`, or `fallback` if the application's telemetry throws: its errors must not fail an operation. */
export function ignoringErrors<T>(measure: () => T, fallback: T): T {
  try {
    return measure();
  } catch {
    return fallback;
  }
}

/** The methods of a meter that the library uses. */
export type SafeMeter = Pick<
  Meter,
  | 'createCounter'
  | 'createHistogram'
  | 'createObservableGauge'
  | 'createObservableUpDownCounter'
  | 'addBatchObservableCallback'
  | 'removeBatchObservableCallback'
>;

const noopMeter = createNoopMeter();

/** The application's meter. If it throws or returns no instrument, a no-op instrument is used. */
export function safeMeter(provider: MeterProvider): SafeMeter {
  const meter =
    ignoringErrors(() => provider.getMeter('matrix-client-manager', libraryVersion), noopMeter) ?? noopMeter;
  const make = <T>(from: (meter: Meter) => T): T => ignoringErrors(() => from(meter), undefined) ?? from(noopMeter);
  return {
    createCounter: (...args) => make((one) => one.createCounter(...args)),
    createHistogram: (...args) => make((one) => one.createHistogram(...args)),
    createObservableGauge: (...args) => make((one) => one.createObservableGauge(...args)),
    createObservableUpDownCounter: (...args) => make((one) => one.createObservableUpDownCounter(...args)),
    addBatchObservableCallback: (...args) => ignoringErrors(() => meter.addBatchObservableCallback(...args), undefined),
    removeBatchObservableCallback: (...args) =>
      ignoringErrors(() => meter.removeBatchObservableCallback(...args), undefined),
  };
}

/** Starts a span. Undefined if no tracer is registered, or the application's tracer throws. */
export type StartSpan = (name: string, options: SpanOptions) => Span | undefined;

export function safeSpanStarter(provider: TracerProvider): StartSpan {
  const tracer = ignoringErrors(() => provider.getTracer('matrix-client-manager', libraryVersion), undefined);
  return (...args) => {
    const span = ignoringErrors(() => tracer?.startSpan(...args), undefined);
    return ignoringErrors(() => span?.spanContext().traceId, undefined) === INVALID_TRACEID ? undefined : span;
  };
}
