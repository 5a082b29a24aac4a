/** The version of the library, as package.json has it; a test compares the two. */
export const libraryVersion = '0.1.0';
