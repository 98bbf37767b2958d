// The bundle's scorer.onnx, run by ONNX Runtime within this page.

/** Bytes that stand in the page as base64. */
function heldBytes(id) {
  const held = document.getElementById(id);
  const text = atob(held.textContent);
  // The text is large, and needed once.
  held.remove();
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

async function openModel() {
  // More threads would need workers, which a page from a disk may not start.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpacked(heldBytes('wasm'));
  return ort.InferenceSession.create(heldBytes('model'));
}

/** Every output for one user: texts as texts, numbers as float32, null as missing. */
async function scored(session, features, values) {
  const feeds = features.map(({ name, kind }) => {
    const value = values[name];
    return kind === 'numeric'
      ? [name, new ort.Tensor('float32', Float32Array.of(value ?? NaN), [1, 1])]
      : [name, new ort.Tensor('string', [value ?? ''], [1, 1])];
  });
  const outputs = await session.run(Object.fromEntries(feeds));
  const numbers = (name) => Array.from(outputs[name].data, Number);
  return {
    probability: numbers('probability')[0],
    margin: numbers('margin')[0],
    impacts: numbers('impacts'),
    drivers: numbers('driver_index'),
    segment: numbers('segment')[0],
  };
}
