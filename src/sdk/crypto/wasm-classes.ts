import type { CryptoBackend } from './crypto-backend.js';

type Machine = CryptoBackend['olmMachine'];

// The crypto library accepts only objects of the SDK's own copy of it. So the classes are those of a machine's own ids.
export const userIdClass = classOf(({ userId }: Pick<Machine, 'userId'>) => userId);
export const deviceIdClass = classOf(({ deviceId }: Pick<Machine, 'deviceId'>) => deviceId);

/** Keeps the class for each machine: each access of such an id makes an object that has to be freed. */
function classOf<M extends object, Id extends { free(): void }>(
  idOf: (machine: M) => Id,
): (machine: M) => new (id: string) => Id {
  const classes = new WeakMap<M, new (id: string) => Id>();
  return (machine) => {
    const known = classes.get(machine);
    if (known) return known;
    const id = idOf(machine);
    const found = id.constructor as new (id: string) => Id;
    id.free();
    classes.set(machine, found);
    return found;
  };
}
