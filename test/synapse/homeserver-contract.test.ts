import { describe, expect, inject, it } from 'vitest';

import { homeserverContract } from '../../src/testing/contracts/homeserver-contract.js';

homeserverContract({ describe, it, expect }, async () => inject('synapse'));
