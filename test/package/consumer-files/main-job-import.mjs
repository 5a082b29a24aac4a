import * as main from 'matrix-client-manager';
import * as testing from 'matrix-client-manager/testing';
import { program } from './main-job.cjs';

await program(main, testing);
