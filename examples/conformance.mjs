/**
 * Whether a runtime computes what a bundle says that it must: the same comparison for every runtime.
 *
 * The rules are those of `engine verify`: a driver may be any feature whose impact is as large as the
 * expected one's, a segment any that is as near as the nearest.
 */

import { score } from './scorer.mjs';

/**
 * Run all conformance rows.
 *
 * @param runtime onnxruntime-node or onnxruntime-web.
 * @param session Of scorer.onnx.
 * @param manifest manifest.json.
 * @param document conformance/conformance.json.
 * @returns {Promise<{passed: boolean, lines: string[]}>} The verdict, and a line for each output.
 */
export async function check(runtime, session, manifest, document) {
  const outputs = await score(runtime, session, usersOf(document));
  const segments = manifest.segments.map((segment) => segment.id);
  const found = Object.keys(document.tolerances).map((name) => ({
    name,
    worst: difference(name, document.outputs, outputs[name], segments),
    allowed: document.tolerances[name],
  }));
  return {
    passed: found.every(({ worst, allowed }) => worst <= allowed),
    lines: [
      `${document.bundle_id}: ${document.rows} conformance rows`,
      ...found.map(line),
      `rows with other drivers: ${otherRows(document.outputs.driver_index, outputs.driver_index)}`,
    ],
  };
}

/** The columns of the document as one object for each user. */
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

/** How much smaller or larger the impacts of the named drivers are than those expected. */
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

/** How much farther the named segments are than the nearest. */
function segmentDifference({ distances }, named, segments) {
  return largest(distances.map((row, user) => [row[segments.indexOf(named[user])], Math.min(...row)]));
}

/** The largest difference of pairs of found and expected; of numbers above 1, as a share of the number. */
function largest(pairs) {
  const shares = pairs.map(([found, expected]) => {
    // The document holds the shortest text of each float32.
    const exact = Math.fround(expected);
    return Math.abs(Math.fround(found) - exact) / Math.max(1, Math.abs(exact));
  });
  // What is not a number is no difference that could be allowed.
  return shares.reduce((worst, share) => (share <= worst ? worst : Number.isNaN(share) ? Infinity : share), 0);
}

function otherRows(expected, found) {
  const index = numbers(found);
  const width = expected[0].length;
  return expected.filter((row, user) => row.some((feature, n) => feature !== index[user * width + n])).length;
}

function numbers(tensor) {
  return Array.from(tensor.data, Number);
}
