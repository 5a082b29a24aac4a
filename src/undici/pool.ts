import type { Agent } from 'undici';

/** The connections of one kind of request. */
export class Pool {
  readonly #createAgent: () => Agent;
  /** Those that only end what they have begun. */
  readonly #retired = new Set<Agent>();
  #agent: Agent;

  constructor(make: () => Agent) {
    this.#createAgent = make;
    this.#agent = make();
  }

  get agent(): Agent {
    return this.#agent;
  }

  /** Further requests go over new connections; what `agent` has begun goes on over the old ones. */
  replace(agent: Agent): void {
    if (agent !== this.#agent || agent.destroyed) return;
    this.#agent = this.#createAgent();
    this.#retired.add(agent);
    void agent.close().finally(() => this.#retired.delete(agent));
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    await Promise.all([this.#agent, ...this.#retired].map((agent) => agent.destroy()));
  }
}
