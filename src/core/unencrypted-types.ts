/** Events of these types are never encrypted: the homeserver has to read them. */
const unencryptedTypes: ReadonlySet<string> = new Set(['m.reaction', 'm.room.redaction']);

/** Whether events of this type are encrypted in an encrypted room. */
export function isEncryptedType(type: string): boolean {
  return !unencryptedTypes.has(type);
}

/** Whether an event of this type may be sent to an encrypted room as it is. */
export function mayBeSentClear(type: string): boolean {
  return type === 'm.room.encrypted' || !isEncryptedType(type);
}
