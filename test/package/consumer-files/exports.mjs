import * as main from 'matrix-client-manager';
import * as testing from 'matrix-client-manager/testing';

const sdkLoaded = '__js_sdk_entrypoint' in globalThis;
process.stdout.write(JSON.stringify({ main: Object.keys(main), testing: Object.keys(testing), sdkLoaded }));
