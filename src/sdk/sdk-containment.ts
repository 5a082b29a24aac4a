import type { MatrixClient, MatrixEvent, Room } from 'matrix-js-sdk';

/** The SDK could not take in something of a room, or of what belongs to none. */
export type OnSdkFailure = (error: unknown, roomId?: string) => void;

/** The private parts of the SDK's `SyncApi` that are used here. Each start of a client makes a new one. */
interface SyncApi {
  mapSyncResponseToRoomArray(sections: object): RoomSection[];
  injectRoomEvents(
    room: Room,
    state: MatrixEvent[] | undefined,
    stateAfter: MatrixEvent[] | undefined,
    timeline?: MatrixEvent[],
    fromCache?: boolean,
  ): Promise<void>;
}

interface RoomSection {
  readonly room: Room;
}

/**
 * Keeps what the SDK throws on where it belongs. By itself it ends the whole sync response at the first event that it
 * cannot take in: the rooms behind it are never known, and it does not encrypt for their members.
 */
export function containSdkFailures(client: MatrixClient, onFailure: OnSdkFailure): void {
  let syncApi: SyncApi | undefined;
  Object.defineProperty(client, 'syncApi', {
    configurable: true,
    enumerable: true,
    get: () => syncApi,
    set: (made: SyncApi | undefined) => {
      if (made) contain(client, made, onFailure);
      syncApi = made;
    },
  });
  const setPushRules = client.setPushRules.bind(client);
  client.setPushRules = (rules) => {
    try {
      setPushRules(rules);
    } catch (error) {
      onFailure(error);
      setPushRules({ global: {} }); // with half of the rules it would fail on every event
    }
  };
  const actionsFor = client.getPushActionsForEvent.bind(client);
  client.getPushActionsForEvent = (...args) => {
    try {
      return actionsFor(...args);
    } catch (error) {
      onFailure(error);
      return null;
    }
  };
}

function contain(client: MatrixClient, api: SyncApi, onFailure: OnSdkFailure): void {
  const rooms = api.mapSyncResponseToRoomArray.bind(api);
  api.mapSyncResponseToRoomArray = (sections) => new ContainedRooms(rooms(sections), client, onFailure).list;
  const inject = api.injectRoomEvents.bind(api);
  api.injectRoomEvents = async (room, state, stateAfter, timeline = [], fromCache = false) => {
    try {
      return await inject(room, state, stateAfter, timeline, fromCache);
    } catch (error) {
      onFailure(error, room.roomId);
    }
    const one = async (event: MatrixEvent, ...events: (MatrixEvent[] | undefined)[]): Promise<void> => {
      const [state, stateAfter, timeline] = events;
      if (timeline && room.findEventById(event.getId() ?? '')) return; // it was taken in before the failure
      await inject(room, state, stateAfter, timeline, fromCache).catch((error: unknown) =>
        onFailure(error, room.roomId),
      );
    };
    const [noState, noStateAfter] = [state && [], stateAfter && []];
    for (const event of state ?? []) await one(event, [event], noStateAfter);
    for (const event of stateAfter ?? []) await one(event, noState, [event]);
    for (const event of timeline) await one(event, noState, noStateAfter, [event]);
  };
}

/** The rooms of one section of a response, as the SDK maps over them. */
class ContainedRooms {
  /** Its `map` is the one thing that the SDK does with it. */
  readonly list: RoomSection[];

  constructor(rooms: RoomSection[], client: MatrixClient, onFailure: OnSdkFailure) {
    const map = (take: (section: RoomSection) => Promise<void>): Promise<void>[] =>
      Array.from(rooms, async (section) => {
        const { room } = section;
        try {
          await take(section);
        } catch (error) {
          onFailure(error, room.roomId);
          if (!client.store.getRoom(room.roomId)) client.store.storeRoom(room);
        }
      });
    this.list = Object.assign([...rooms], { map });
  }
}
