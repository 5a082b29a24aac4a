import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { createNoopMeter, INVALID_SPAN_CONTEXT, trace } from '@opentelemetry/api';
import type { Meter, Span, Tracer } from '@opentelemetry/api';
import { libraryVersion } from '../core/version.js';

/** The result of `measure`, or `fallback` if the application's telemetry throws: its errors must not fail an operation. */
export function ignoringErrors<T>(measure: () => T, fallback: T): T {
  try {
    return measure();
  } catch {
    return fallback;
  }
}

const noopMeter = createNoopMeter();

/** The application's meter. If it throws or returns no instrument, a no-op instrument is used. */
export function safeMeter(provider: MeterProvider): Meter {
  const meter =
    ignoringErrors(() => provider.getMeter('matrix-client-manager', libraryVersion), noopMeter) ?? noopMeter;
  const make = <T>(from: (meter: Meter) => T): T => ignoringErrors(() => from(meter), undefined) ?? from(noopMeter);
  return {
    createGauge: (...args) => make((one) => one.createGauge(...args)),
    createHistogram: (...args) => make((one) => one.createHistogram(...args)),
    createCounter: (...args) => make((one) => one.createCounter(...args)),
    createUpDownCounter: (...args) => make((one) => one.createUpDownCounter(...args)),
    createObservableGauge: (...args) => make((one) => one.createObservableGauge(...args)),
    createObservableCounter: (...args) => make((one) => one.createObservableCounter(...args)),
    createObservableUpDownCounter: (...args) => make((one) => one.createObservableUpDownCounter(...args)),
    addBatchObservableCallback: (...args) => ignoringErrors(() => meter.addBatchObservableCallback(...args), undefined),
    removeBatchObservableCallback: (...args) =>
      ignoringErrors(() => meter.removeBatchObservableCallback(...args), undefined),
  };
}

const noSpan = (): Span => trace.wrapSpanContext(INVALID_SPAN_CONTEXT);

/** Starts spans of the application's tracer. If it throws or returns no span, a no-op span is used. */
export function safeSpanStarter(provider: TracerProvider): Tracer['startSpan'] {
  const tracer = ignoringErrors<Tracer | undefined>(
    () => provider.getTracer('matrix-client-manager', libraryVersion),
    undefined,
  );
  return (...args) => ignoringErrors(() => tracer?.startSpan(...args), undefined) ?? noSpan();
}
