const main = require('matrix-client-manager');
const testing = require('matrix-client-manager/testing');

process.stdout.write(JSON.stringify({ main: Object.keys(main), testing: Object.keys(testing) }));
