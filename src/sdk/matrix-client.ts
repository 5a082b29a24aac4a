/** The type of the matrix-js-sdk client that an application gets. Other folders import it from here, not from the SDK. */
export type { MatrixClient } from 'matrix-js-sdk';
