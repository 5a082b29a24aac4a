const { undiciTransport } = require('matrix-client-manager/undici');
const mainJob = require('./main-job.cjs');

const [main, testing] = [require('matrix-client-manager'), require('matrix-client-manager/testing')];
void mainJob(main, testing, { transport: undiciTransport() });
