import { crc32, deflateSync } from 'node:zlib';

type Colour = readonly [red: number, green: number, blue: number];

const sky: readonly Colour[] = [
  [38, 42, 92],
  [156, 76, 122],
  [244, 148, 96],
  [255, 214, 140],
];
const sun: Colour = [255, 240, 200];
const water: Colour = [30, 44, 84];

/** A sun that sets over a lake, as a PNG image, so that the demo has a picture without a file of one. */
export function paintSunset(w: number, h: number): { body: Buffer; info: { w: number; h: number } } {
  const rows: Buffer[] = [];
  for (let y = 0; y < h; y++) {
    const row = Buffer.alloc(1 + w * 3); // the first byte says that the row is not filtered
    for (let x = 0; x < w; x++) row.set(colourAt(x / h, y / h, w / h), 1 + x * 3);
    rows.push(row);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(w, 0);
  header.writeUInt32BE(h, 4);
  header.set([8, 2], 8); // 8 bits per channel, RGB
  const body = Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
  return { body, info: { w, h } };
}

const HORIZON = 0.68;
const SUN_RADIUS = 0.13;

function colourAt(x: number, y: number, width: number): Colour {
  const distance = Math.hypot(x - width / 2, y - HORIZON + 0.04);
  if (y < HORIZON) return distance < SUN_RADIUS ? sun : mix(skyAt(y / HORIZON), sun, glow(distance));
  const reflected = skyAt((2 * HORIZON - y) / HORIZON);
  const isRipple = Math.abs(x - width / 2) < 0.1 + 0.05 * Math.sin(y * 160) && Math.sin(y * 220) > -0.2;
  return mix(mix(reflected, water, 0.55), sun, isRipple ? 0.55 : 0);
}

function glow(distance: number): number {
  return Math.max(0, 0.5 - distance) * 0.7;
}

function skyAt(height: number): Colour {
  const position = Math.min(Math.max(height, 0), 0.999) * (sky.length - 1);
  const [from, to] = [sky[Math.floor(position)], sky[Math.floor(position) + 1]];
  return from && to ? mix(from, to, position % 1) : sun;
}

function mix(from: Colour, to: Colour, share: number): Colour {
  const between = (a: number, b: number): number => Math.round(a + (b - a) * share);
  return [between(from[0], to[0]), between(from[1], to[1]), between(from[2], to[2])];
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(typed.length + 8);
  framed.writeUInt32BE(data.length, 0);
  framed.set(typed, 4);
  framed.writeUInt32BE(crc32(typed), framed.length - 4);
  return framed;
}
