/**
 * A bundle's scorer.onnx in any JavaScript runtime of ONNX: users in, every output out.
 *
 * The graph says itself which columns it reads and of which type, so nothing else of the bundle is
 * needed. A user is an object with every feature; null is missing.
 */

/**
 * Score users.
 *
 * @param {Pick<typeof import('onnxruntime-common'), 'Tensor'>} runtime onnxruntime-node or onnxruntime-web.
 * @param {import('onnxruntime-common').InferenceSession} session Of scorer.onnx.
 * @param {readonly import('./shopnow.d.ts').User[]} users
 * @returns The outputs by name, one row for each user; `driver_index` counts `session.inputNames`.
 */
export function score(runtime, session, users) {
  const feeds = session.inputMetadata.map((input) => {
    const type = input.isTensor ? input.type : undefined;
    const values = users.map((user) => known(user, input.name));
    return [input.name, column(runtime.Tensor, type, values)];
  });
  return session.run(Object.fromEntries(feeds));
}

/** A value that is given or null; a feature that is not named at all is a mistake of the caller. */
function known(user, name) {
  if (user[name] === undefined) {
    throw new Error(`a user without '${name}': give every feature, null where it is missing`);
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
