const main = require('matrix-client-manager');
const testing = require('matrix-client-manager/testing');

const sdkLoaded = '__js_sdk_entrypoint' in globalThis;
process.stdout.write(JSON.stringify({ main: Object.keys(main), testing: Object.keys(testing), sdkLoaded }));
