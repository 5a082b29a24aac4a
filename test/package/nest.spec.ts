import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Consumer, devDependencies } from './consumer.js';

const versions = [
  ['11', '11', ''],
  [devDependencies['@nestjs/core'], devDependencies['@nestjs/terminus'], '--experimental-vm-modules'],
] as const;

describe.each(versions)('the installed package in an application on Nest %s', (nest, terminus, flags) => {
  let consumer: Consumer;

  beforeAll(async () => {
    consumer = await Consumer.install();
    const nestPackages = ['common', 'core', 'platform-express'].map((name) => `@nestjs/${name}@${nest}`);
    await consumer.add(...nestPackages, `@nestjs/terminus@${terminus}`, 'reflect-metadata', 'rxjs', 'jest@30');
    await cp(join(consumer.dir, 'nest-typed.mts'), join(consumer.dir, 'nest-typed.cts'));
  });
  afterAll(() => consumer?.[Symbol.asyncDispose]());

  it('passes its test with Jest', async () => {
    const jest = join(consumer.dir, 'node_modules/jest/bin/jest.js');
    const args = [...(flags === '' ? [] : [flags]), jest, '--ci', '--testMatch', '**/*.nest-jest.js'];
    await expect(consumer.run(process.execPath, ...args)).resolves.toBe('');
  });

  it.each(['nest-typed.mts', 'nest-typed.cts'])('compiles: %s', async (file) => {
    expect(await consumer.typecheck(file, { module: 'NodeNext', skipLibCheck: true })).toBe('');
  });
});
