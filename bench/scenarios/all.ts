import type { Scenario } from '../harness/scenario.ts';
import { cpuPerEvent, latency } from './events.ts';
import { encryptedClients } from './encrypted-clients.ts';
import { growth } from './growth.ts';
import { idleClients } from './idle-clients.ts';
import { importTime } from './import.ts';
import { installSize } from './install.ts';
import { listRooms } from './list-rooms.ts';
import { coldStart, wake } from './many-rooms.ts';
import { outage } from './outage.ts';
import { page } from './page.ts';
import { provisioning } from './provisioning.ts';
import { roomCalls } from './room-calls.ts';
import { roomMemory } from './room-memory.ts';
import { sweep } from './sweep.ts';

/** In the order of the report. */
export const scenarios: readonly Scenario[] = [
  idleClients,
  encryptedClients,
  cpuPerEvent,
  latency,
  growth,
  coldStart,
  wake,
  page,
  roomCalls,
  listRooms,
  roomMemory,
  provisioning,
  sweep,
  importTime,
  installSize,
  outage,
];
