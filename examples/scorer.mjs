/**
 * Runs a bundle's scorer.onnx in any JavaScript ONNX runtime: users in, every output out.
 *
 * The graph declares its columns and their types, so no other file of the bundle is needed. A user is an
 * object with every feature; null means missing.
 */

/**
 * Score users.
 *
 * @param {Pick<typeof import('onnxruntime-common'), 'Tensor'>} runtime onnxruntime-node or onnxruntime-web.
 * @param {import('onnxruntime-common').InferenceSession} session A session of scorer.onnx.
 * @param {readonly import('./shopnow.d.ts').User[]} users
 * @returns The outputs by name, one row per user; `driver_index` indexes `session.inputNames`.
 */
export function score(runtime, session, users) {
  const feeds = session.inputMetadata.map((input) => {
    const type = input.isTensor ? input.type : undefined;
    const values = users.map((user) => known(user, input.name));
    return [input.name, column(runtime.Tensor, type, values)];
  });
  return session.run(Object.fromEntries(feeds));
}

/** A feature's value, null if missing; an absent feature is an error of the caller. */
function known(user, name) {
  if (user[name] === undefined) {
    throw new Error(`user without '${name}': pass every feature, null if missing`);
  }
  return user[name];
}

function column(Tensor, type, values) {
  const data =
    type === 'string'
      ? values.map((value) => value ?? '')
      : Float32Array.from(values, (value) => value ?? NaN);
  return new Tensor(type, data, [values.length, 1]);
}
