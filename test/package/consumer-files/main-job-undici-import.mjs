import * as main from 'matrix-client-manager';
import * as testing from 'matrix-client-manager/testing';
import { undiciTransport } from 'matrix-client-manager/undici';
import { program } from './main-job.cjs';

await program(main, testing, { transport: undiciTransport() });
