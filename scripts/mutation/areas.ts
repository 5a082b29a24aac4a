/** A part of the source with the tests that have to notice when it breaks. */
export interface MutationArea {
  readonly mutate: readonly string[];
  /** Globs. Tests that take seconds each stay out, or a survivor would cost minutes. */
  readonly tests: readonly string[];
  /** Tests among them that stay out for the same reason: a regular expression for their titles. */
  readonly without?: string;
}

export const mutationAreas: Readonly<Record<string, MutationArea>> = {
  storage: {
    mutate: ['src/storage/**/*.ts'],
    tests: ['test/storage/**/*.test.ts'],
    without: 'whatever bytes are altered|whatever is called in whatever order',
  },
  resilience: {
    mutate: ['src/resilience/*.ts'],
    tests: ['test/resilience/{outage-detector,homeserver-gate,rate-limiter}.test.ts'],
  },
  'encryption-store': {
    mutate: ['src/encryption/store/**/*.ts', 'src/encryption/encryption-options.ts'],
    tests: [
      'test/encryption/store/{crypto-store,device-commits,device-store,memory-keys}.test.ts',
      'test/encryption/store/sqlite/*.test.ts',
      'test/encryption/store/indexed-db/*.test.ts',
      'test/encryption/{encryption-options,forget-user}.test.ts',
      'test/sdk/crypto/{machine-guard,open-crypto}.test.ts',
    ],
  },
  http: {
    mutate: ['src/http/*.ts'],
    // Not those of memory, which take seconds, nor those through a manager.
    tests: ['test/http/!(media-http|proxy-pages).test.ts', 'test/resilience/response-size.test.ts'],
  },
  arguments: {
    mutate: ['src/core/{validation,content-part,event-types}.ts'],
    tests: ['test/core/validation.test.ts', 'test/sending/content.test.ts', 'test/callbacks/callback.test.ts'],
  },
  callbacks: {
    mutate: ['src/callbacks/*.ts'],
    tests: ['test/callbacks/*.test.ts'],
  },
  messages: {
    mutate: ['src/messages/*.ts', 'src/core/{message-fields,reply-fallback,room-message,timeline-event}.ts'],
    // Not those through a manager: pages, signals.
    tests: [
      'test/messages/{cursor,event-types,page-reader,page-reader-sources,reading-answers,room-timeline,room-timelines}.test.ts',
      'test/core/{message-fields,room-message}.test.ts',
    ],
  },
  sending: {
    mutate: ['src/sending/*.ts'],
    // Not those through a manager: durable-sends.
    tests: ['test/sending/{content,outbox,room-sender,send-event,send-queue}.test.ts'],
  },
  files: {
    mutate: ['src/files/*.ts'],
    // Not those through a manager: files.
    tests: ['test/files/{attachments,downloads,sent-files,uploads}.test.ts'],
  },
  ephemeral: {
    mutate: ['src/ephemeral/*.ts'],
    tests: ['test/ephemeral/*.test.ts'],
  },
  delivery: {
    mutate: ['src/delivery/*.ts'],
    tests: ['test/delivery/*.test.ts'],
    without: 'cost the same',
  },
};
