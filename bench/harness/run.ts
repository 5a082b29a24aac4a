import { scenarios } from '../scenarios/all.ts';
import type { ScenarioResult, Values } from '../report/results.ts';
import { thisCommit } from '../report/results.ts';
import { Child } from './child.ts';
import type { HomeserverServices } from './homeserver.ts';
import type { Scenario, Size } from './scenario.ts';
import { Stage } from './stage.ts';
import type { Homeserver } from './stage.ts';

export interface RunOptions {
  /** Names of scenarios. @default all */
  readonly only: readonly string[] | undefined;
  readonly quick: boolean;
  /** Whether to run on a real Synapse too. */
  readonly synapse: boolean;
  /** @default each scenario's own, and one in the quick form */
  readonly rounds: number | undefined;
  readonly profileInto: string | undefined;
  readonly report: (line: string) => void;
}

/** Runs the scenarios on the fake homeserver, then on Synapse where asked for. */
export async function* run(options: RunOptions): AsyncGenerator<ScenarioResult> {
  const unknown = options.only?.filter((name) => !scenarios.some((scenario) => scenario.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`there is no scenario ${unknown.join(', ')}; --list shows what there is`);
  const chosen = scenarios.filter(({ name }) => options.only?.includes(name) ?? true);
  for (const scenario of chosen) yield await runOne(scenario, options, undefined);
  if (!options.synapse) return;
  await using synapse = new Child<HomeserverServices>('processes/synapse.ts', ['--import', 'tsx']);
  try {
    for (const scenario of chosen.filter(({ onSynapse }) => onSynapse)) {
      yield await runOne(scenario, options, synapse);
    }
  } finally {
    await synapse.call('stop');
  }
}

async function runOne(
  scenario: Scenario,
  options: RunOptions,
  synapse: Homeserver | undefined,
): Promise<ScenarioResult> {
  const { quick, profileInto, report } = options;
  const size: Size = { quick, synapse: synapse !== undefined };
  const rounds = options.rounds ?? (quick ? 1 : scenario.rounds);
  const values: Values = {};
  const begun = performance.now();
  report(`${scenario.name}${size.synapse ? ' on Synapse' : ''}`);
  await using stage = await Stage.open({
    ...size,
    rounds,
    profileInto,
    running: synapse,
    report: (line) => report(`  ${line}`),
  });
  await scenario.run(stage, (measure, contender, value) => {
    const ofMeasure = (values[measure] ??= {});
    (ofMeasure[contender] ??= []).push(value);
  });
  return {
    ...size,
    scenario: scenario.name,
    measuredAt: new Date().toISOString(),
    commit: thisCommit(),
    seconds: Math.round((performance.now() - begun) / 1_000),
    values,
  };
}
