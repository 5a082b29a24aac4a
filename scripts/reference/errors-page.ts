import { errorCodeDocs } from './error-codes.js';
import { fieldsTable } from './fields-table.js';
import { code, page, prose, table } from './markdown.js';
import type { PublicTypes } from './public-types.js';

export function errorsPage(types: PublicTypes): string {
  const rows = errorCodeDocs().map(({ code: name, happened, remedy }) => [code(name), prose(happened), prose(remedy)]);
  return page(
    'Errors',
    'Every failure is a `MatrixClientManagerError` with a `code`. `isManagerError(error, ...codes)` tells it from other errors.',
    '## Codes',
    table(['code', 'What happened', 'What to do'], rows),
    '## ErrorContext',
    `${prose(types.docOf('ErrorContext'))} The error has these as properties, where they are known.`,
    fieldsTable('ErrorContext', types.fieldsOf('ErrorContext')),
  );
}
