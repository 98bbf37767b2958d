/**
 * Checks a runtime against a bundle's conformance rows: the same comparison for every runtime.
 *
 * The rules are those of `engine verify`. Ties pass: any driver whose impact is as large as the expected
 * one's, and any segment that is as near as the nearest.
 */

import { draw } from './draws.mjs';
import { score } from './scorer.mjs';

/**
 * Run all conformance rows.
 *
 * @param runtime onnxruntime-node or onnxruntime-web.
 * @param session A session of scorer.onnx.
 * @param manifest manifest.json.
 * @param document conformance/conformance.json.
 * @param draws draws.json.
 * @returns {Promise<{passed: boolean, lines: string[]}>} The verdict, and one line per output.
 */
export async function check(runtime, session, manifest, document, draws) {
  const outputs = await score(runtime, session, usersOf(document));
  const segments = manifest.segments.map((segment) => segment.id);
  const found = Object.keys(document.tolerances).map((name) => ({
    name,
    worst: difference(name, document.outputs, outputs[name], segments),
    allowed: document.tolerances[name],
  }));
  const drawn = await Promise.all(Object.keys(draws).map(draw));
  const sameDraws = Object.values(draws).every((expected, n) => drawn[n] === expected);
  return {
    passed: sameDraws && found.every(({ worst, allowed }) => worst <= allowed),
    lines: [
      `${document.bundle_id}: ${document.rows} conformance rows`,
      ...found.map(line),
      `rows with different drivers: ${otherRows(document.outputs.driver_index, outputs.driver_index)}`,
      `rows with different segments: ${otherRows(document.outputs.segment, outputs.segment)}`,
      `draws of control group and arms: ${sameDraws ? 'ok' : 'WRONG'}`,
    ],
  };
}

/** The document's columns as one object per user. */
function usersOf({ inputs, rows }) {
  const columns = Object.entries(inputs);
  return Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(columns.map(([name, values]) => [name, values[row]])),
  );
}

function line({ name, worst, allowed }) {
  const verdict = worst <= allowed ? 'ok' : 'WRONG';
  return `${name.padEnd(14)} worst difference ${worst.toExponential(2)}, allowed ${allowed}: ${verdict}`;
}

function difference(name, expected, found, segments) {
  const values = numbers(found);
  if (values.length !== expected[name].flat().length) return Infinity;
  if (name === 'driver_index') return driverDifference(expected, values);
  if (name === 'segment') return segmentDifference(expected, values, segments);
  return largest(expected[name].flat().map((value, n) => [values[n], value]));
}

/** The largest difference between the impacts of the returned drivers and the expected ones. */
function driverDifference({ impacts, driver_impact: drivers }, index) {
  const width = drivers[0].length;
  return largest(
    drivers.flatMap((row, user) => {
      const named = index.slice(user * width, (user + 1) * width);
      const repeated = new Set(named).size < width;
      return row.map((impact, n) => [
        repeated ? NaN : Math.abs(impacts[user][named[n]]),
        Math.abs(impact),
      ]);
    }),
  );
}

/** How much farther the returned segments are than the nearest. */
function segmentDifference({ distances }, named, segments) {
  return largest(distances.map((row, user) => [row[segments.indexOf(named[user])], Math.min(...row)]));
}

/** The largest difference between found and expected; relative for numbers above 1. */
function largest(pairs) {
  const shares = pairs.map(([found, expected]) => {
    // The document holds each float32 as its shortest text.
    const exact = Math.fround(expected);
    return Math.abs(Math.fround(found) - exact) / Math.max(1, Math.abs(exact));
  });
  // NaN never counts as within tolerance.
  return shares.reduce((worst, share) => (share <= worst ? worst : Number.isNaN(share) ? Infinity : share), 0);
}

function otherRows(expected, found) {
  const values = numbers(found);
  const width = values.length / expected.length;
  return expected.filter((row, user) => [row].flat().some((value, n) => value !== values[user * width + n]))
    .length;
}

function numbers(tensor) {
  return Array.from(tensor.data, Number);
}
