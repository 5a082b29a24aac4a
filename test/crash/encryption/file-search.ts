import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Shorter ones stand in megabytes of sealed bytes by chance. */
const LEAST_BYTES = 8;
const WINDOW_BYTES = 4;
const SHOWN_NUMBERS = 16;

export interface Found {
  /** What was looked for: a kind of thing, not the thing. */
  readonly what: string;
  /** Where, from the folder that was searched. */
  readonly file: string;
}

/** Finds many byte sequences in files at once. */
export class FileSearch {
  /** By the first bytes. */
  readonly #needles = new Map<number, { readonly what: string; readonly bytes: Buffer }[]>();
  /** Whether anything begins with these two bytes: the question that is asked for each byte of a file. */
  readonly #starts = new Uint8Array(2 ** 16);
  readonly #counts = new Map<string, number>();

  /** How many things of each kind are looked for. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Looks for a text, in both encodings that a database or a serializer may give it. */
  text(what: string, text: string): void {
    this.#add(what, [Buffer.from(text, 'utf8'), Buffer.from(text, 'utf16le')]);
  }

  /** Looks for bytes: as they are, and as they may be written. */
  bytes(what: string, bytes: Uint8Array): void {
    const raw = Buffer.from(bytes);
    const base64 = raw.toString('base64').replaceAll('=', '');
    const texts = [base64, raw.toString('base64url'), raw.toString('hex'), numbers(raw)];
    this.#add(what, [raw, ...texts.map((text) => Buffer.from(text))]);
  }

  /** Looks for a key given in base64, padded or not. */
  key(what: string, base64: string): void {
    this.bytes(what, Buffer.from(base64, 'base64'));
  }

  /** What is found in the files under `folder`; also how much was read. */
  in(folder: string): { readonly found: Found[]; readonly files: number; readonly bytes: number } {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    let bytes = 0;
    const found = files.flatMap(({ parentPath, name }) => {
      const content = readFileSync(join(parentPath, name));
      bytes += content.length;
      const file = relative(folder, join(parentPath, name));
      return this.inBytes(content).map((what) => ({ what, file }));
    });
    return { found, files: files.length, bytes };
  }

  /** The kinds of things that stand in `content`. */
  inBytes(content: Buffer): string[] {
    const found = new Set<string>();
    if (content.length < WINDOW_BYTES) return [];
    let window = content.readUInt32BE(0);
    for (let at = 0; at <= content.length - WINDOW_BYTES; at++) {
      if (at > 0) window = ((window << 8) | (content[at + WINDOW_BYTES - 1] ?? 0)) >>> 0;
      if (this.#starts[window >>> 16] === 0) continue;
      for (const { what, bytes } of this.#needles.get(window) ?? []) {
        if (bytes.equals(content.subarray(at, at + bytes.length))) found.add(what);
      }
    }
    return [...found];
  }

  /** Looks for each thing in bytes that hold it; kinds of which one is not found. */
  blindFor(): string[] {
    const all = [...this.#needles.values()].flat();
    const surroundings = Buffer.alloc(WINDOW_BYTES - 1, 0xff);
    const blind = all.filter(
      ({ what, bytes }) => !this.inBytes(Buffer.concat([surroundings, bytes, surroundings])).includes(what),
    );
    return [...new Set(blind.map(({ what }) => what))];
  }

  #add(what: string, needles: readonly Buffer[]): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    for (const bytes of needles) {
      if (bytes.length < LEAST_BYTES) throw new Error(`${what}: too short to be looked for`);
      const window = bytes.readUInt32BE(0);
      const same = this.#needles.get(window) ?? [];
      if (same.some((known) => known.what === what && known.bytes.equals(bytes))) continue;
      this.#starts[window >>> 16] = 1;
      this.#needles.set(window, [...same, { what, bytes }]);
    }
  }
}

/** The beginning, as an array of numbers in JSON. */
function numbers(bytes: Buffer): string {
  return [...bytes.subarray(0, SHOWN_NUMBERS)].join(',');
}
