import type { Stage } from './stage.ts';

/** Something that is compared between contenders. */
export interface Measure {
  readonly id: string;
  readonly title: string;
  readonly unit: 'us' | 'ms' | 'KiB' | 'MiB' | 'per second' | 'count';
  /** Whom the others are compared with; nobody if empty. */
  readonly reference: string;
  /** Whether to draw it. */
  readonly chart?: boolean;
}

/** What a result has to be; with more than one limit, keeping one of them is enough. */
export interface Target {
  readonly text: string;
  readonly measure: string;
  readonly of: string;
  readonly limits: readonly Limit[];
}

export type Limit =
  /** `of` by `over`, in the same round; `over` may be found in another measure. */
  | {
      readonly kind: 'ratio';
      readonly over: string;
      readonly overMeasure?: string;
      readonly atMost?: number;
      readonly atLeast?: number;
    }
  | { readonly kind: 'difference'; readonly over: string; readonly atMost: number }
  | { readonly kind: 'value'; readonly atMost: number };

/** Notes what one contender had in one round. */
export type Record = (measure: string, contender: string, value: number) => void;

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** What is done, so that a reader can tell whether it is fair. */
  readonly how: string;
  /** Whether it is worth running on a real Synapse too. */
  readonly onSynapse?: boolean;
  /** How often every contender has its turn, unless told otherwise. */
  readonly rounds: number;
  readonly measures: (size: Size) => readonly Measure[];
  readonly targets?: (size: Size) => readonly Target[];
  readonly run: (stage: Stage, record: Record) => Promise<void>;
}

/** Of the whole benchmark: some scenarios are smaller in the quick form and on Synapse. */
export interface Size {
  readonly quick: boolean;
  readonly synapse: boolean;
}
