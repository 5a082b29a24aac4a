/** The program `matrix-client-manager`: `npx matrix-client-manager demo` opens a chat of two users in the browser. */
import { readCommand, usage } from './command.js';
import { runDemo } from './run-demo.js';

const command = readCommand(process.argv.slice(2));
if (command.name === 'help') {
  process.stdout.write(`${usage}\n`);
} else if (command.name === 'invalid') {
  process.stderr.write(`${command.problem}\n\n${usage}\n`);
  process.exitCode = 2;
} else {
  await runDemo(command);
}
