import { MatrixError } from '../matrix-error.js';
import type { PositionTokens } from '../world/position-tokens.js';

/** Up to where each room has been told of on a connection. */
export type SentRooms = ReadonlyMap<string, number>;

export interface SlidingPosition {
  readonly upTo: number;
  readonly sent: SentRooms;
}

/**
 * What each connection of a device has been told. A position lives until the client comes back with a later one, or
 * begins the connection anew.
 */
export class SlidingConnections {
  readonly #positions: PositionTokens;
  readonly #connections = new Map<string, Map<number, SlidingPosition>>();
  #count = 0;

  constructor(positions: PositionTokens) {
    this.#positions = positions;
  }

  /** Where the client is; undefined when it begins. */
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

  /** @returns the `pos` for the client to come back with */
  record(connection: string, position: SlidingPosition): string {
    const known = this.#connections.get(connection) ?? new Map<number, SlidingPosition>();
    this.#connections.set(connection, known.set(++this.#count, position));
    return `${this.#count}/${this.#positions.sync(position.upTo)}`;
  }
}
