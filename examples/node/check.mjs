// node check.mjs BUNDLE: runs every conformance row in onnxruntime-node; exits with 1 if one fails.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import * as runtime from 'onnxruntime-node';

import { bundleFolder } from '../bundle.mjs';
import { check } from '../conformance.mjs';

// ONNX Runtime reports usage to its vendor unless this is set before the first session.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

const bundle = bundleFolder(process.argv[2], 'node check.mjs BUNDLE');
const [session, manifest, document, draws] = await Promise.all([
  runtime.InferenceSession.create(join(bundle, 'scorer.onnx')),
  readJson(join(bundle, 'manifest.json')),
  readJson(join(bundle, 'conformance/conformance.json')),
  readJson(new URL('../draws.json', import.meta.url)),
]);
const { passed, lines } = await check(runtime, session, manifest, document, draws);
console.log([`onnxruntime-node ${runtime.env.versions.node}`, ...lines].join('\n'));
process.exitCode = passed ? 0 : 1;

async function readJson(path) {
  return JSON.parse(await readFile(path, 'utf8'));
}
