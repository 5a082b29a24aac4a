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
    tests: ['test/resilience/{circuit-breaker,homeserver-gate,rate-limiter}.test.ts'],
  },
  'encryption-store': {
    mutate: [
      'src/encryption/{crypto-store,crypto-file,counter-file,device-store,device-keys,crypto-store-options}.ts',
      'src/encryption/indexed-db/*.ts',
    ],
    tests: [
      'test/encryption/{crypto-store,counter-file,databases,fake-indexeddb,forget-user,globals,machine-guard,open-crypto,tracked-database}.test.ts',
    ],
  },
  http: {
    mutate: ['src/http/*.ts'],
    // Not those of memory, which take seconds, nor those through a manager.
    tests: ['test/http/!(media-http|proxy-pages).test.ts', 'test/resilience/response-size.test.ts'],
  },
  callbacks: {
    mutate: ['src/callbacks/*.ts'],
    tests: ['test/callbacks/*.test.ts'],
  },
  messages: {
    mutate: ['src/messages/*.ts'],
    // Not those through a manager: durable-sends, files, pages, signals.
    tests: [
      'test/messages/{attachments,content,cursor,downloads,event-types,message-fetcher}.test.ts',
      'test/messages/{message-sender,outbox,receipt-sender,room-message,room-timeline,typing-notifier,uploads}.test.ts',
    ],
  },
  delivery: {
    mutate: ['src/delivery/*.ts'],
    tests: ['test/delivery/*.test.ts'],
    without: 'cost the same',
  },
};
