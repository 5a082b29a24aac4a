import * as main from 'matrix-client-manager';
import * as testing from 'matrix-client-manager/testing';
import { undiciTransport } from 'matrix-client-manager/undici';
import mainJob from './main-job.cjs';

await mainJob(main, testing, { transport: undiciTransport() });
