// What importing one thing costs, in a process that has imported nothing else.
const before = process.cpuUsage();
const begun = performance.now();
await import(process.argv[2] ?? '');
const ms = performance.now() - begun;
const { user, system } = process.cpuUsage(before);
const { rss } = process.memoryUsage();
process.send?.({ ms, cpuMs: (user + system) / 1_000, rss });
