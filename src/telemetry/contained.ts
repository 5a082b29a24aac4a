import type { MeterProvider, TracerProvider } from '@opentelemetry/api';
import { createNoopMeter, INVALID_SPAN_CONTEXT, trace } from '@opentelemetry/api';
import type { Meter, Span, Tracer } from '@opentelemetry/api';
import { libraryVersion } from '../core/version.js';

/** What `measure` returns; `otherwise` where the application's telemetry throws, since it must not disturb the work. */
export function quietly<T>(measure: () => T, otherwise: T): T {
  try {
    return measure();
  } catch {
    return otherwise;
  }
}

const noopMeter = createNoopMeter();

/** A meter whose instruments measure nothing where the application's meter throws or returns none. */
export function meterOf(provider: MeterProvider): Meter {
  const meter = quietly(() => provider.getMeter('matrix-client-manager', libraryVersion), noopMeter) ?? noopMeter;
  const make = <T>(from: (meter: Meter) => T): T => quietly(() => from(meter), undefined) ?? from(noopMeter);
  return {
    createGauge: (...args) => make((one) => one.createGauge(...args)),
    createHistogram: (...args) => make((one) => one.createHistogram(...args)),
    createCounter: (...args) => make((one) => one.createCounter(...args)),
    createUpDownCounter: (...args) => make((one) => one.createUpDownCounter(...args)),
    createObservableGauge: (...args) => make((one) => one.createObservableGauge(...args)),
    createObservableCounter: (...args) => make((one) => one.createObservableCounter(...args)),
    createObservableUpDownCounter: (...args) => make((one) => one.createObservableUpDownCounter(...args)),
    addBatchObservableCallback: (...args) => quietly(() => meter.addBatchObservableCallback(...args), undefined),
    removeBatchObservableCallback: (...args) => quietly(() => meter.removeBatchObservableCallback(...args), undefined),
  };
}

const noSpan = (): Span => trace.wrapSpanContext(INVALID_SPAN_CONTEXT);

/** Starts spans; one that records nothing where the application's tracer throws or returns none. */
export function spanStarterOf(provider: TracerProvider): Tracer['startSpan'] {
  const tracer = quietly<Tracer | undefined>(
    () => provider.getTracer('matrix-client-manager', libraryVersion),
    undefined,
  );
  return (...args) => quietly(() => tracer?.startSpan(...args), undefined) ?? noSpan();
}
