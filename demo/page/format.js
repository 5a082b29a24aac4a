const times = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const shortDays = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

// A homeserver may send any number as the time of a message.
const isTime = (timestamp) => Math.abs(timestamp) <= 8.64e15;

export function formatTime(timestamp) {
  return isTime(timestamp) ? times.format(timestamp) : '';
}

export function isSameDay(a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

export function formatDay(timestamp) {
  if (!isTime(timestamp)) return '';
  if (isSameDay(timestamp, Date.now())) return 'Today';
  if (isSameDay(timestamp, Date.now() - 86_400_000)) return 'Yesterday';
  return days.format(timestamp);
}

/** The time of a message of today, else its day. */
export function formatShort(timestamp) {
  if (!isTime(timestamp)) return '';
  return isSameDay(timestamp, Date.now()) ? times.format(timestamp) : shortDays.format(timestamp);
}

export function toIsoTime(timestamp) {
  return isTime(timestamp) ? new Date(timestamp).toISOString() : undefined;
}

export function formatSize(bytes) {
  if (bytes === undefined) return '';
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
