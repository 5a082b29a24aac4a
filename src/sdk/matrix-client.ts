/** The client of matrix-js-sdk that an application gets: the type alone, so that no other folder imports the SDK. */
export type { MatrixClient } from 'matrix-js-sdk';
