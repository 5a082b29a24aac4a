import { httpStatusByCode } from '../../src/core/http-status.js';
import { errorCodeDocs } from './error-codes.js';
import { fieldsTable } from './fields-table.js';
import { code, page, prose, table } from './markdown.js';
import type { PublicTypes } from './public-types.js';

export function errorsPage(types: PublicTypes): string {
  const rows = errorCodeDocs().map(({ code: name, happened, remedy }) => [
    code(name),
    String(httpStatusByCode[name]),
    prose(happened),
    prose(remedy),
  ]);
  return page(
    'Errors',
    'Every failure is a `MatrixClientManagerError` with a `code`. `isManagerError(error, ...codes)` tells it from other errors.',
    '## Codes',
    '`httpStatus(error)` is the status with which an application can answer a failed request. It is 500 for all other errors. For `REJECTED` it is the status of the homeserver if that is 400, 409 or 413.',
    table(['code', 'HTTP', 'What happened', 'What to do'], rows),
    '## ErrorContext',
    `${prose(types.docOf('ErrorContext'))} The error has these as properties, where they are known.`,
    fieldsTable('ErrorContext', types.fieldsOf('ErrorContext')),
  );
}
