/** An error response of the homeserver. */
export class MatrixError extends Error {
  override readonly name = 'MatrixError';

  /** @param extra - further members of the body, such as `soft_logout` */
  constructor(
    readonly status: number,
    readonly errcode: string,
    message: string,
    readonly extra: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  get body(): Record<string, unknown> {
    return { errcode: this.errcode, error: this.message, ...this.extra };
  }
}

export function forbidden(message: string): MatrixError {
  return new MatrixError(403, 'M_FORBIDDEN', message);
}

export function notFound(message: string): MatrixError {
  return new MatrixError(404, 'M_NOT_FOUND', message);
}

export function invalidParam(message: string): MatrixError {
  return new MatrixError(400, 'M_INVALID_PARAM', message);
}

/** Synapse's error for a path that it does not serve, or (with 405) for a method that the path does not have. */
export function unrecognized(status: 404 | 405 = 404): MatrixError {
  return new MatrixError(status, 'M_UNRECOGNIZED', 'Unrecognized request');
}
