import * as main from 'matrix-client-manager';
import * as testing from 'matrix-client-manager/testing';

process.stdout.write(JSON.stringify({ main: Object.keys(main), testing: Object.keys(testing) }));
