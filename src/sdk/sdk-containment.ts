import type { MatrixClient, MatrixEvent, Room } from 'matrix-js-sdk';

/** Called when the SDK throws while it processes a part of a sync. `roomId` is undefined for parts outside rooms. */
export type OnSdkFailure = (error: unknown, roomId?: string) => void;

/** The private methods of the SDK's `SyncApi` that are wrapped here. Each start of a client creates a new `SyncApi`. */
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
 * Limits an error of the SDK to the event or room that caused it. Without this, the first event that the SDK cannot
 * process ends the whole sync response: the SDK would not know the later rooms, nor encrypt for their members.
 */
export function containSdkFailures(client: MatrixClient, onFailure: OnSdkFailure): void {
  let syncApi: SyncApi | undefined;
  Object.defineProperty(client, 'syncApi', {
    configurable: true,
    enumerable: true,
    get: () => syncApi,
    set: (created: SyncApi | undefined) => {
      if (created) wrapSyncApi(client, created, onFailure);
      syncApi = created;
    },
  });
  const setPushRules = client.setPushRules.bind(client);
  client.setPushRules = (rules) => {
    try {
      setPushRules(rules);
    } catch (error) {
      onFailure(error);
      setPushRules({ global: {} }); // partly set rules would fail on every event
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

function wrapSyncApi(client: MatrixClient, api: SyncApi, onFailure: OnSdkFailure): void {
  const toRooms = api.mapSyncResponseToRoomArray.bind(api);
  api.mapSyncResponseToRoomArray = (sections) => guardedRooms(toRooms(sections), client, onFailure);
  const inject = api.injectRoomEvents.bind(api);
  api.injectRoomEvents = async (room, state, stateAfter, timeline = [], fromCache = false) => {
    try {
      return await inject(room, state, stateAfter, timeline, fromCache);
    } catch (error) {
      onFailure(error, room.roomId);
    }
    const injectOne = async (event: MatrixEvent, ...events: (MatrixEvent[] | undefined)[]): Promise<void> => {
      const [state, stateAfter, timeline] = events;
      if (timeline && room.findEventById(event.getId() ?? '')) return; // it was added before the failure
      await inject(room, state, stateAfter, timeline, fromCache).catch((error: unknown) =>
        onFailure(error, room.roomId),
      );
    };
    // If `stateAfter` is present, even empty, the SDK does not read state from the timeline. So absent stays absent.
    const [noState, noStateAfter] = [state && [], stateAfter && []];
    for (const event of state ?? []) await injectOne(event, [event], noStateAfter);
    for (const event of stateAfter ?? []) await injectOne(event, noState, [event]);
    for (const event of timeline) await injectOne(event, noState, noStateAfter, [event]);
  };
}

/**
 * The rooms of one section of a response, with a `map` that catches errors: an error in one room does not end the SDK's
 * loop over the others. The SDK calls nothing else on the array.
 */
function guardedRooms(rooms: RoomSection[], client: MatrixClient, onFailure: OnSdkFailure): RoomSection[] {
  const map = (process: (section: RoomSection) => Promise<void>): Promise<void>[] =>
    rooms.map(async (section) => {
      const { room } = section;
      try {
        await process(section);
      } catch (error) {
        onFailure(error, room.roomId);
        if (!client.store.getRoom(room.roomId)) client.store.storeRoom(room);
      }
    });
  return Object.assign([...rooms], { map });
}
