/** A user with a session on one device. */
export interface User {
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
}

export interface NewRoom {
  /** The first one makes it. */
  readonly members: readonly User[];
  /** How many messages it has from the start. */
  readonly messages: number;
  /** @default false */
  readonly encrypted?: boolean;
}

/** What a homeserver's process does for the benchmark. */
export type HomeserverServices = {
  readonly about: () => Promise<About> | About;
  readonly makeUsers: (count: number) => Promise<User[]> | User[];
  /** A user again, on a device that the homeserver has not seen: their next sync is a first one. */
  readonly newDevice: (user: User) => Promise<User> | User;
  readonly makeRooms: (rooms: readonly NewRoom[]) => Promise<string[]> | string[];
  /** Sends messages one after the other, each with the time of its sending (see {@link timeOf}). */
  readonly send: (messages: { roomId: string; sender: User; count: number }) => Promise<void> | void;
  /**
   * Sends `count` messages, `burst` at a time, each burst when the `listeners` have the one before and wait for news
   * again; so that nobody has to be asked in between, which would be measured too.
   */
  readonly talk: (talk: Talk) => Promise<void>;
  /** Ends what is still being answered, to a contender that is gone. */
  readonly hangUp: () => void;
  /** Ends what is left of it. */
  readonly stop: () => Promise<void> | void;
};

export interface Talk {
  readonly roomId: string;
  readonly sender: User;
  readonly count: number;
  readonly burst: number;
  readonly listeners: number;
}

export interface About {
  readonly homeserverUrl: string;
  readonly serverName: string;
  readonly admin: { readonly userId: string; readonly accessToken: string };
  readonly slidingSync: boolean;
}

/** Now, in milliseconds, by a clock that all processes of the machine share. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** The text of a message that tells when it was sent. */
export function stamped(): string {
  return `bench ${now()} a message of about the length that people write to each other`;
}

/** When a message with this text was sent; undefined for any other text. */
export function timeOf(text: unknown): number | undefined {
  const [, time] = /^bench ([\d.]+)/.exec(String(text)) ?? [];
  return time === undefined ? undefined : Number(time);
}

/** Rooms of `size` users each, in which every user is `roomsPerUser` times, with different company each time. */
export function smallRooms(
  users: readonly User[],
  { size = 10, roomsPerUser = 2, messages = 20 }: { size?: number; roomsPerUser?: number; messages?: number } = {},
): NewRoom[] {
  const rooms: NewRoom[] = [];
  for (let time = 0; time < roomsPerUser; time++) {
    const shift = Math.floor((time * size) / roomsPerUser);
    const order = [...users.slice(shift), ...users.slice(0, shift)];
    for (let first = 0; first < order.length; first += size) {
      rooms.push({ members: order.slice(first, first + size), messages });
    }
  }
  return rooms;
}
