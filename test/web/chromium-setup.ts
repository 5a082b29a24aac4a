import type { TestProject } from 'vitest/node';
import { findChromium } from './find-chromium.js';

declare module 'vitest' {
  interface ProvidedContext {
    chromium: string;
  }
}

/** Finds Chromium, or installs it, before the tests; they get its path with `inject('chromium')`. */
export default async function setup(project: TestProject): Promise<void> {
  project.provide('chromium', await findChromium());
}
