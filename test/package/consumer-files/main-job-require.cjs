const { program } = require('./main-job.cjs');

// A rejection nobody handles ends the process with its stack and a code other than 0.
void program(require('matrix-client-manager'), require('matrix-client-manager/testing'));
