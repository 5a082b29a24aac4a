// What importing one thing, or one after another, costs, in a process that has imported nothing else.
const before = process.cpuUsage();
const begun = performance.now();
for (const url of (process.argv[2] ?? '').split(' ')) await import(url);
const ms = performance.now() - begun;
const { user, system } = process.cpuUsage(before);
const { rss } = process.memoryUsage();
process.send?.({ ms, cpuMs: (user + system) / 1_000, rss });
