import { describe, expect, inject, it } from 'vitest';
import { files } from '../messages/support/files.js';

const target = async () => inject('synapse');

describe('files, on Synapse', () => {
  files(it, expect, target, false);
});

describe('files, on Synapse over undici', () => {
  files(it, expect, target, true);
});
