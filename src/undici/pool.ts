import type { Agent } from 'undici';

/** The connections of one connection pool. */
export class Pool {
  readonly #createAgent: () => Agent;
  /** Replaced agents, which only complete their running requests. */
  readonly #retired = new Set<Agent>();
  #agent: Agent;

  constructor(make: () => Agent) {
    this.#createAgent = make;
    this.#agent = make();
  }

  get agent(): Agent {
    return this.#agent;
  }

  /** Opens new connections for further requests. Running requests of `agent` continue over the old ones. */
  replace(agent: Agent): void {
    if (agent !== this.#agent || agent.destroyed) return;
    this.#agent = this.#createAgent();
    this.#retired.add(agent);
    void agent.close().finally(() => this.#retired.delete(agent));
  }

  /** Aborts running requests and closes all connections. */
  async close(): Promise<void> {
    await Promise.all([this.#agent, ...this.#retired].map((agent) => agent.destroy()));
  }
}
