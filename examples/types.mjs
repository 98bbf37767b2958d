// node types.mjs BUNDLE > shopnow.d.ts: the users of a bundle as TypeScript, from its manifest alone.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [bundle] = process.argv.slice(2);
if (bundle === undefined) {
  console.error('usage: node types.mjs BUNDLE, the folder that holds manifest.json');
  process.exit(2);
}
const { schema, categories } = JSON.parse(readFileSync(join(bundle, 'manifest.json'), 'utf8'));
const features = schema.features.filter((feature) => feature.use);

console.log(
  [
    `/** Inputs of scorer.onnx for '${plain(schema.name)}': made by types.mjs, not by hand. */`,
    '',
    '/** One user: every feature, null where it is missing. */',
    'export interface User {',
    ...features.flatMap((feature) => [`  /** ${words(feature)} */`, `  ${key(feature)}: ${type(feature)};`]),
    '}',
  ].join('\n'),
);

function key({ name }) {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

/** A value that the model has not learned counts as missing: the type leaves it out, to show a slip. */
function type(feature) {
  const { name, kind, values, missing } = feature;
  if (kind === 'numeric') return missing === 'never' ? 'number' : 'number | null';
  const known = values.length ? values : [...categories[name]].sort();
  const texts = known.map((value) => JSON.stringify(value));
  return [...texts, ...(missing === 'never' ? [] : ['null'])].join(' | ');
}

function words({ label, name, unit, min, max }) {
  const range = [min === null ? '' : `from ${min}`, max === null ? '' : `to ${max}`].filter(Boolean).join(' ');
  return plain([`${label || name}${unit ? `, ${unit}` : ''}`, range].filter(Boolean).join('; ')) + '.';
}

/** A text that can end no comment and no line. */
function plain(text) {
  return text.replaceAll('*/', '* /').replace(/\s+/g, ' ');
}
