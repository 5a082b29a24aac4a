import type { RawEvent } from './raw-event.js';
import { isVerification } from './verification-events.js';

/** Answers to polls, also with the prefix of the time before they were specified. A poll itself is a message. */
const POLL_ANSWERS = /^(m|org\.matrix\.msc3381)\.poll\.(response|end)$/;

/**
 * Whether an event of a timeline is addressed to clients rather than to people: the course of a call (its `m.call.invite`
 * is a message), a verification of devices, or the answer to a poll.
 */
export function isSignalling({ type, content }: RawEvent): boolean {
  if (type.startsWith('m.call.')) return type !== 'm.call.invite';
  return POLL_ANSWERS.test(type) || isVerification(type, content);
}
