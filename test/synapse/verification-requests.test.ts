import { describe, expect, inject, it } from 'vitest';
import { verificationRequests } from '../encryption/support/verification-requests.js';

describe('verifications that others ask for, on Synapse', () => {
  verificationRequests(it, expect, async () => inject('synapse'));
});
