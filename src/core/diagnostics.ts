import type { Clock } from './clock.js';
import type { DiagnosticMessages, TracedWork, TraceName, TraceOutcome } from './diagnostic-messages.js';

/** A span of traced work. */
export interface TraceSpan<Name extends TraceName> {
  /** Runs `work` with this span as the active one. */
  run<T>(work: () => T): T;
  end(outcome: TraceOutcome<Name>): void;
}

/** Makes spans. Its methods never throw. */
export interface SpanSource {
  /** Starts a span for the work, if it gets one. */
  begin<Name extends TraceName>(name: Name, message: TracedWork[Name]['message']): TraceSpan<Name> | undefined;
  /** Runs `run` without an active span. */
  detached<T>(run: () => T): T;
}

/** Work that has begun. Ends once: after `run`, or with `end`. */
export interface Trace<Name extends TraceName> {
  /** Runs `work` in the span of the trace, and publishes how it has ended. */
  run<T extends TracedWork[Name]['result']>(work: () => T | Promise<T>): Promise<T>;
  end(outcome: TraceOutcome<Name>): void;
}

type DiagnosticName = keyof DiagnosticMessages | TraceName;

/** What subscribers get. Of traced work: what was known at its start, how it has ended, and its duration in milliseconds. */
type Published<Name extends DiagnosticName> = Name extends TraceName
  ? [message: TracedWork[Name]['message'], end: TraceOutcome<Name>, durationMs: number]
  : [message: DiagnosticMessages[Extract<Name, keyof DiagnosticMessages>]];

type Listener = (...published: readonly unknown[]) => void;

/**
 * What the parts of one manager publish about their work, for its metrics, traces and diagnostics channels. The work is
 * the same without subscribers, and an error of a subscriber does not reach it.
 */
export class Diagnostics {
  readonly #clock: Clock;
  readonly #listeners = new Map<DiagnosticName, Listener[]>();
  #spans: SpanSource | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `listener` at each message with that name, and at each end of traced work with that name. */
  subscribe<Name extends DiagnosticName>(name: Name, listener: (...published: Published<Name>) => void): void {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener as Listener]);
  }

  /** Makes the spans of all traced work from now on. */
  makeSpansWith(spans: SpanSource): void {
    this.#spans = spans;
  }

  publish<Name extends keyof DiagnosticMessages>(name: Name, message: DiagnosticMessages[Name]): void {
    this.#publish(name, message);
  }

  /** Runs `work`, measures it, and publishes how it has ended. A span is active during the work. */
  trace<Name extends TraceName, T extends TracedWork[Name]['result']>(
    name: Name,
    message: TracedWork[Name]['message'],
    work: () => T | Promise<T>,
  ): Promise<T> {
    return this.begin(name, message).run(work);
  }

  /** Like {@link trace}, for work that starts before the code that is run in its span. */
  begin<Name extends TraceName>(name: Name, message: TracedWork[Name]['message']): Trace<Name> {
    const startedAt = this.#clock.now();
    const span = this.#spans?.begin(name, message);
    const end = (outcome: TraceOutcome<Name>): void => {
      span?.end(outcome);
      this.#publish(name, message, outcome, this.#clock.now() - startedAt);
    };
    return {
      end,
      run: async (work) => {
        try {
          const result = await (span ? span.run(work) : work());
          end({ outcome: 'ok', result });
          return result;
        } catch (error) {
          end({ outcome: 'failed', error });
          throw error;
        }
      },
    };
  }

  /** Runs work that outlives its caller outside the caller's trace. */
  detached<T>(run: () => T): T {
    return this.#spans ? this.#spans.detached(run) : run();
  }

  #publish(name: DiagnosticName, ...published: readonly unknown[]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(...published);
      } catch {
        // diagnostics must not change the work
      }
    }
  }
}
