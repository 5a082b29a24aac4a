import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { storageError } from '../../../storage/sqlite/sqlite-errors.js';

const ID_BYTES = 16;
const COUNT_BYTES = 8;
const CHECKSUM_BYTES = 8;
const SLOT_BYTES = ID_BYTES + COUNT_BYTES + CHECKSUM_BYTES;

/**
 * Keeps each device's number of commits outside of the crypto store, so that a store restored from a copy is detected. Slots of `id | count | checksum` are overwritten in place without an fsync. A power cut may lose the newest
 * counts, which can hide a rollback but never reports a false one. A killed process loses none.
 */
export class CounterFile {
  readonly #path: string;
  readonly #descriptor: number | undefined;
  readonly #slots = new Map<string, { readonly index: number; count: number }>();
  #size = 0;

  /** @param path - undefined keeps the counts in memory */
  constructor(path: string | undefined) {
    this.#path = path ?? '';
    if (path === undefined) return;
    try {
      this.#descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
      this.#read(this.#descriptor);
    } catch (error) {
      if (this.#descriptor !== undefined) closeSync(this.#descriptor);
      throw storageError('open', path, error);
    }
  }

  /** The highest stored count, or undefined. */
  get(userId: string, deviceId: string): number | undefined {
    return this.#slots.get(idOf(userId, deviceId).toString('base64'))?.count;
  }

  /** Stores a count, unless it is lower than the stored one. */
  raise(userId: string, deviceId: string, count: number): void {
    const id = idOf(userId, deviceId);
    const key = id.toString('base64');
    const slot = this.#slots.get(key) ?? { index: this.#size, count: -1 };
    if (count <= slot.count) return;
    if (this.#descriptor !== undefined) {
      try {
        writeSync(this.#descriptor, encode(id, count), 0, SLOT_BYTES, slot.index * SLOT_BYTES);
      } catch (error) {
        throw storageError('write', this.#path, error);
      }
    }
    if (slot.index === this.#size) this.#size++;
    slot.count = count;
    this.#slots.set(key, slot);
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    fsyncSync(this.#descriptor);
    closeSync(this.#descriptor);
  }

  #read(descriptor: number): void {
    const bytes = Buffer.alloc(fstatSync(descriptor).size);
    readSync(descriptor, bytes, 0, bytes.length, 0);
    this.#size = Math.floor(bytes.length / SLOT_BYTES); // an incomplete last slot is overwritten
    for (let index = 0; index < this.#size; index++) {
      const slot = bytes.subarray(index * SLOT_BYTES, (index + 1) * SLOT_BYTES);
      const id = slot.subarray(0, ID_BYTES);
      const count = Number(slot.readBigUInt64BE(ID_BYTES));
      if (slot.equals(encode(id, count))) this.#slots.set(id.toString('base64'), { index, count });
    }
  }
}

function idOf(userId: string, deviceId: string): Buffer {
  return createHash('sha256')
    .update(JSON.stringify([userId, deviceId]))
    .digest()
    .subarray(0, ID_BYTES);
}

function encode(id: Uint8Array, count: number): Buffer {
  const counter = Buffer.alloc(COUNT_BYTES);
  counter.writeBigUInt64BE(BigInt(Number.isSafeInteger(count) ? count : 0));
  const body = Buffer.concat([id, counter]);
  return Buffer.concat([body, createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES)]);
}
