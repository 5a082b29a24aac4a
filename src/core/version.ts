/** The version of the library. A test checks that it equals the version in package.json. */
export const libraryVersion = '0.1.0';
