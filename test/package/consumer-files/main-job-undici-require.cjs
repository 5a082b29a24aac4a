const { undiciTransport } = require('matrix-client-manager/undici');
const { program } = require('./main-job.cjs');

const [main, testing] = [require('matrix-client-manager'), require('matrix-client-manager/testing')];
void program(main, testing, { transport: undiciTransport() });
