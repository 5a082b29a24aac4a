import { execFile } from 'node:child_process';

/**
 * Runs a program to its end and gives its standard output.
 * @throws with all its output when it fails; with `acceptFailure` only when it then printed nothing
 */
export function run(
  program: string,
  args: readonly string[],
  cwd: string,
  { acceptFailure = false } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (!error || (acceptFailure && stdout !== '')) return resolve(stdout);
      reject(new Error(`${program} ${args.join(' ')} failed in ${cwd}:\n${stdout}\n${stderr}`, { cause: error }));
    });
  });
}
