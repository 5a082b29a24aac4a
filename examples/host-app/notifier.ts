import type { ClientCallback, MatrixClientManager } from 'matrix-client-manager';

/** Sends a push notification; a part of the host application. */
export type Push = (userId: string, text: string) => Promise<void>;

/** A piece of a host application: signs users in to chat, and notifies them of what others write. */
export class Notifier {
  readonly #manager: MatrixClientManager;
  readonly #push: Push;

  constructor(manager: MatrixClientManager, push: Push) {
    this.#manager = manager;
    this.#push = push;
  }

  async signIn(username: string): Promise<string> {
    const { userId } = await this.#manager.provisionUser({ username });
    await this.#manager.startClient({ userId, callbacks: [this.#notify] });
    return userId;
  }

  readonly #notify: ClientCallback = async (event) => {
    if (event.type !== 'message' || event.sender === event.userId) return;
    await this.#push(event.userId, `${event.sender}: ${event.text}`);
  };
}
