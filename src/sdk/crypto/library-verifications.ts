import type { VerificationRequestInfo } from '../../encryption/verification-options.js';
import type { CryptoBackend, WasmSas, WasmVerificationRequest } from './crypto-backend.js';
import { wasmUserId } from './wasm-user-id.js';

type FlowName = Pick<VerificationRequestInfo, 'otherUserId' | 'transactionId'>;

/** Finds the objects that the crypto library has of a verification. Each result is a new object, to be freed. */
export class LibraryVerifications {
  readonly #crypto: Pick<CryptoBackend, 'olmMachine'>;

  constructor(crypto: Pick<CryptoBackend, 'olmMachine'>) {
    this.#crypto = crypto;
  }

  /** The request for a comparison. */
  request({ otherUserId, transactionId }: FlowName): WasmVerificationRequest | undefined {
    const userId = wasmUserId(this.#crypto, otherUserId);
    const request = userId && this.#crypto.olmMachine.getVerificationRequest(userId, transactionId);
    userId?.free();
    return request;
  }

  /** The comparison itself, also one that began without a request. */
  comparison({ otherUserId, transactionId }: FlowName): WasmSas | undefined {
    const userId = wasmUserId(this.#crypto, otherUserId);
    const sas = userId && this.#crypto.olmMachine.getVerification(userId, transactionId);
    userId?.free();
    return sas;
  }

  /** Whether there is a request. */
  hasRequest(name: FlowName): boolean {
    const request = this.request(name);
    request?.free();
    return request !== undefined;
  }

  /** Whether there is a request, or a comparison. */
  has(name: FlowName): boolean {
    const sas = this.comparison(name);
    sas?.free();
    return sas !== undefined || this.hasRequest(name);
  }

  /** Ends a verification in the library, which would cancel it after ten minutes. Tells nobody. */
  drop(name: FlowName): void {
    const [request, sas] = [this.request(name), this.comparison(name)];
    // What they return would be sent to the other side.
    request?.cancel();
    sas?.cancelWithCode('m.user');
    for (const one of [request, sas]) one?.free();
  }
}
