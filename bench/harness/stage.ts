import type { ContenderName } from '../contenders/contender.ts';
import type { ContenderServices } from '../processes/contender.ts';
import { Child } from './child.ts';
import type { About, HomeserverServices } from './homeserver.ts';
import { hasEntry } from './library.ts';
import type { OutageServices } from './outage.ts';
import type { Size } from './scenario.ts';

export type Homeserver = Child<HomeserverServices & OutageServices>;

export interface StageOptions extends Size {
  readonly rounds: number;
  /** Writes a CPU profile of every contender into this folder. */
  readonly profileInto: string | undefined;
  /** A Synapse that runs already; without one each stage has a fake homeserver of its own. */
  readonly running: Homeserver | undefined;
  readonly report: (line: string) => void;
}

/** A turn of one contender. */
export interface Turn {
  readonly name: ContenderName;
  readonly process: Child<ContenderServices>;
  readonly round: number;
}

/** Where a scenario runs: a homeserver, and a process for each contender, round after round. */
export class Stage implements AsyncDisposable {
  readonly options: StageOptions;
  readonly homeserver: Homeserver;
  readonly about: About;

  private constructor(options: StageOptions, homeserver: Homeserver, about: About) {
    this.options = options;
    this.homeserver = homeserver;
    this.about = about;
  }

  static async open(options: StageOptions): Promise<Stage> {
    const homeserver = options.running ?? new Child('processes/fake-homeserver.ts', ['--max-old-space-size=8192']);
    return new Stage(options, homeserver, await homeserver.call('about'));
  }

  /**
   * Gives every contender a turn, one after the other, and again, `rounds` times: A B C, B C A, ... so that whatever else
   * the machine does hits all of them. Each turn has a fresh process.
   */
  async rounds(
    contenders: readonly ContenderName[],
    turn: (turn: Turn) => Promise<void>,
    rounds = this.options.rounds,
  ): Promise<void> {
    const present = contenders.filter((name) => this.#isPresent(name));
    for (let round = 0; round < rounds; round++) {
      const first = round % present.length;
      for (const name of [...present.slice(first), ...present.slice(0, first)]) {
        const begun = performance.now();
        await using process = new Child<ContenderServices>('processes/contender.ts', this.#execArgv(name));
        await this.homeserver.call('hangUp');
        await process.call('load', name);
        await turn({ name, process, round });
        if (this.options.profileInto !== undefined) await process.end();
        this.options.report(`round ${round + 1}/${rounds} ${name}: ${Math.round(performance.now() - begun)} ms`);
      }
    }
  }

  /** A contender that has had a client before: what is loaded and compiled for the first one is no user's cost. */
  async connectWarm(process: Turn['process']): Promise<void> {
    const users = await this.homeserver.call('makeUsers', 1);
    await this.homeserver.call('makeRooms', [{ members: users, messages: 5 }]);
    await process.call('connect', this.about);
    await process.call('start', { users, concurrency: 1 });
  }

  /** Some can only take part when the library was built with what they need, or the homeserver has it. */
  #isPresent(name: ContenderName): boolean {
    if (name === 'ours-undici') return hasEntry('undici');
    if (name === 'bare-sliding') return this.options.synapse; // it asks for more than the fake homeserver serves
    return name !== 'ours-plain' || this.about.slidingSync;
  }

  #execArgv(name: ContenderName): string[] {
    const { profileInto } = this.options;
    const profile = profileInto === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileInto}/${name}`];
    return ['--expose-gc', '--max-old-space-size=16384', ...profile];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.options.running === undefined) await this.homeserver[Symbol.asyncDispose]();
  }
}
