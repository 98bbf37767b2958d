// The bundle that a command names: a folder with manifest.json, or one whose CURRENT names such a folder.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The folder with manifest.json; ends the process in words if there is none.
 *
 * @param folder The first argument of the command, if there is one.
 * @param usage How the command is called.
 */
export function bundleFolder(folder, usage) {
  if (folder === undefined) {
    stop(`usage: ${usage}, a bundle or a folder of bundles`);
  }
  const current = join(folder, 'CURRENT');
  const bundle = existsSync(current) ? join(folder, readFileSync(current, 'utf8').split(' ')[0]) : folder;
  if (!existsSync(join(bundle, 'manifest.json'))) {
    stop(`${bundle}: no manifest.json. Give a bundle, or a folder of bundles with CURRENT.`);
  }
  return bundle;
}

function stop(message) {
  console.error(message);
  process.exit(2);
}
