import { MatrixError } from '../matrix-error.js';
import type { PositionTokens } from '../world/position-tokens.js';

/** The position up to which each room was sent on a connection, by room id. */
export type SentRooms = ReadonlyMap<string, number>;

export interface SlidingPosition {
  readonly upTo: number;
  readonly sent: SentRooms;
}

/**
 * The positions of each connection of a device. A position is kept until the client uses a later one, or starts the
 * connection again.
 */
export class SlidingConnections {
  readonly #positions: PositionTokens;
  readonly #connections = new Map<string, Map<number, SlidingPosition>>();
  #count = 0;

  constructor(positions: PositionTokens) {
    this.#positions = positions;
  }

  /** The client's position; undefined at the start of a connection. */
  read(connection: string, pos: string | null): SlidingPosition | undefined {
    if (pos === null) {
      this.#connections.delete(connection);
      return undefined;
    }
    const [, number, token] = /^(\d+)\/(.+)$/.exec(pos) ?? [];
    if (token === undefined) throw new MatrixError(400, 'M_UNKNOWN', 'Invalid stream token');
    this.#positions.readSync(token);
    const known = this.#connections.get(connection);
    const position = known?.get(Number(number));
    if (!position) throw new MatrixError(400, 'M_UNKNOWN_POS', 'Unknown position');
    for (const other of known?.keys() ?? []) if (other !== Number(number)) known?.delete(other);
    return position;
  }

  /** @returns the `pos` for the client's next request */
  record(connection: string, position: SlidingPosition): string {
    const known = this.#connections.get(connection) ?? new Map<number, SlidingPosition>();
    this.#connections.set(connection, known.set(++this.#count, position));
    return `${this.#count}/${this.#positions.sync(position.upTo)}`;
  }
}
