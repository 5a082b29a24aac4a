import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { phasesOf } from './phases.js';
import type { Phase } from './phases.js';
import type { Activity, Secrets, WorkerCommand, WorkerLine, WorkerSpec } from './worker-protocol.js';

type Line<Kind extends WorkerLine['kind']> = Extract<WorkerLine, { readonly kind: Kind }>;

/** Generous: both homeserver and workers share their cores with whatever else runs. */
const PATIENCE_MS = 120_000;
/** A process takes two seconds to load. */
const AIM_MS = 6_000;

/** Gets what happens, line by line; no keys. */
export type Log = (line: string) => void;

interface Waiting {
  readonly look: (line: WorkerLine) => void;
  readonly reject: (error: Error) => void;
}

/** One device, in processes of its own, one after the other. */
export class Device {
  readonly name: string;
  readonly folder: string;
  readonly secret: string;
  readonly got = new Map<string, string[]>();
  readonly bodies: { readonly eventId: string; readonly body: unknown }[] = [];
  readonly lives: Line<'live'>[] = [];
  readonly secrets: Secrets[] = [];
  /** What it was doing when it was killed, once for each kill and phase. */
  readonly killedIn: Phase[] = [];
  /** Why its device was replaced, for each time. */
  readonly replaced: string[] = [];
  ready = false;
  kills = 0;
  readonly #spec: Omit<WorkerSpec, 'life'>;
  readonly #copies: string;
  #child: ChildProcess | undefined;
  #starts = 0;
  #doing: Activity[] = [];
  #hasBegun = false;
  #waiting: Waiting[] = [];

  readonly #log: Log;

  /** @param copies - the folder for what its files were at each kill */
  constructor(name: string, spec: Omit<WorkerSpec, 'life'>, copies: string, log: Log = () => {}) {
    this.name = name;
    this.folder = spec.folder;
    this.secret = spec.secret;
    this.#spec = spec;
    this.#copies = copies;
    this.#log = log;
    mkdirSync(spec.folder, { recursive: true });
  }

  get userId(): string {
    return this.lives[0]?.userId ?? '';
  }

  start(): void {
    const script = fileURLToPath(new URL('worker.ts', import.meta.url));
    const spec: WorkerSpec = { ...this.#spec, life: `${this.name}${++this.#starts}` };
    const child = fork(script, [JSON.stringify(spec)], { execArgv: ['--no-warnings', '--import', 'tsx'] });
    this.#child = child;
    this.#doing = [];
    this.#hasBegun = false;
    child.on('message', (line: WorkerLine) => {
      this.#note(line);
      for (const { look } of this.#waiting) look(line);
    });
    child.on('exit', (code) => {
      if (code === 0 || code === null) return; // finished, or killed
      for (const { reject } of this.#waiting) reject(new Error(`${this.name} has ended by itself, with ${code}`));
    });
  }

  command(command: WorkerCommand): void {
    this.#child?.send(command, () => {});
  }

  /** Kills it, and keeps a copy of what its files are then, for they are not searched before everything is known. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close'); // comes after its last line
    child.kill('SIGKILL');
    await closed;
    this.kills++;
    this.#log(`${this.name} killed`);
    this.killedIn.push(...phasesOf(this.#doing, { wasLive: this.lives.length > 0, hasBegun: this.#hasBegun }));
    cpSync(this.folder, `${this.#copies}/${this.name} at kill ${this.kills}`, { recursive: true });
  }

  /** Kills it `afterMs` after it has begun `activity`; where it does not come to that, when it is ready, or waiting. */
  async killIn(activity: Activity, afterMs: number): Promise<void> {
    const isBegun = (line: WorkerLine): boolean =>
      line.kind === 'ready' || (line.kind === 'begin' && line.activity === activity);
    if (!this.#doing.includes(activity)) await this.#line(isBegun, AIM_MS, activity).catch(() => {});
    await sleep(afterMs);
    await this.kill();
  }

  async finish(): Promise<void> {
    const closed = once(this.#child as ChildProcess, 'close');
    this.command('finish');
    await closed;
  }

  /** Resolves with the next line of a kind; rejects when it does not come. */
  async line<Kind extends WorkerLine['kind']>(kind: Kind): Promise<Line<Kind>> {
    return (await this.#line((line) => line.kind === kind, PATIENCE_MS, kind)) as Line<Kind>;
  }

  /** Tells it to do something, and waits for the answer. */
  async ask<Kind extends WorkerLine['kind']>(command: WorkerCommand, kind: Kind): Promise<Line<Kind>> {
    const answer = this.line(kind);
    this.command(command);
    return answer;
  }

  /** Starts it, and waits until its encryption stands. */
  async up(): Promise<void> {
    const ready = this.line('ready');
    this.start();
    await ready;
  }

  async #line(matches: (line: WorkerLine) => boolean, patienceMs: number, what: string): Promise<WorkerLine> {
    const { promise, resolve, reject } = Promise.withResolvers<WorkerLine>();
    const look = (line: WorkerLine): void => {
      if (matches(line)) resolve(line);
    };
    const waiting = { look, reject };
    this.#waiting.push(waiting);
    const message = `${this.name} did not tell '${what}' within ${patienceMs} ms; it was doing: ${this.#doing.join(', ')}`;
    const timer = setTimeout(() => reject(new Error(message)), patienceMs);
    return promise.finally(() => {
      clearTimeout(timer);
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
    });
  }

  #note(line: WorkerLine): void {
    this.#hasBegun = true;
    if (line.kind !== 'history' && line.kind !== 'secrets') this.#log(`${this.name} ${JSON.stringify(line)}`);
    if (line.kind === 'begin') this.#doing.push(line.activity);
    if (line.kind === 'end') this.#doing.splice(this.#doing.indexOf(line.activity), 1);
    if (line.kind === 'got') this.got.set(line.eventId, [...(this.got.get(line.eventId) ?? []), line.decryption]);
    if (line.kind === 'got' || line.kind === 'sent') this.bodies.push(line);
    if (line.kind === 'live') this.lives.push(line);
    if (line.kind === 'ready') this.ready = true;
    if (line.kind === 'secrets') this.secrets.push(line.secrets);
    if (line.kind === 'replaced') this.replaced.push(line.code);
  }
}
