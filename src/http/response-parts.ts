import * as v from 'valibot';

/** Schemas of parts of a response that may be absent. Null and a value of another type count as absent. */
export const optionalText = optional(v.string());
export const optionalNumber = optional(v.number());

function optional<Schema extends v.GenericSchema>(schema: Schema) {
  return v.pipe(
    v.fallback(v.nullish(schema), undefined),
    v.transform((value) => value ?? undefined),
  );
}
