// The network: pixels in, what every layer makes of them out. Plain loops, no library.

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function floatsOf(base64) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function product(sizes) {
  return sizes.reduce((all, size) => all * size, 1);
}

// What each kind of layer computes: of values x and a step, the values of its output. Layers of
// one's own are added behind this script.
const LAYERS = {
  conv(x, { inputShape, outputShape, kernel, border, parameters }) {
    const [C, H, W] = inputShape, [K, I, J] = outputShape, [R, S] = kernel;
    const [top, left] = border;
    const { weight, bias } = parameters;
    const y = new Float32Array(K * I * J);
    for (let k = 0, tap = 0; k < K; k++) {
      y.fill(bias ? bias[k] : 0, k * I * J, (k + 1) * I * J);
      for (let c = 0; c < C; c++)
        for (let r = 0; r < R; r++)
          for (let s = 0; s < S; s++, tap++) {
            const w = weight[tap];
            // Outside the map stand zeros: rows and columns there add nothing.
            const firstI = Math.max(0, top - r), lastI = Math.min(I, H + top - r);
            const firstJ = Math.max(0, left - s), lastJ = Math.min(J, W + left - s);
            for (let i = firstI; i < lastI; i++) {
              const from = (c * H + i + r - top) * W + s - left, to = (k * I + i) * J;
              for (let j = firstJ; j < lastJ; j++) y[to + j] += w * x[from + j];
            }
          }
    }
    return y;
  },

  relu(x) {
    return x.map((value) => (value > 0 ? value : 0));
  },

  maxpool(x, { inputShape, outputShape }) {
    const [, H, W] = inputShape, [K, P, Q] = outputShape;
    const y = new Float32Array(K * P * Q);
    for (let k = 0, to = 0; k < K; k++)
      for (let p = 0; p < P; p++)
        for (let q = 0; q < Q; q++, to++) {
          const from = (k * H + 2 * p) * W + 2 * q;
          y[to] = Math.max(x[from], x[from + 1], x[from + W], x[from + W + 1]);
        }
    return y;
  },

  linear(x, { outputShape, parameters }) {
    const { weight, bias } = parameters;
    const y = new Float32Array(outputShape[0]);
    for (let u = 0, at = 0; u < y.length; u++) {
      let sum = bias ? bias[u] : 0;
      for (let f = 0; f < x.length; f++, at++) sum += weight[at] * x[f];
      y[u] = sum;
    }
    return y;
  },

  same(x) {
    return x;
  },
};

function softmax(logits) {
  const top = Math.max(...logits);
  const exponentials = Array.from(logits, (value) => Math.exp(value - top));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((value) => value / sum);
}

// Makes the network of what the page holds. run(pixels) takes C x H x W values in the units that
// the network was trained with, bytes divided by 255.
function makeNetwork(model) {
  const steps = model.steps.map((step) => ({
    ...step,
    forward: LAYERS[step.layer],
    parameters: Object.fromEntries(
      Object.entries(step.parameters).map(([part, values]) => [part, floatsOf(values)]),
    ),
  }));
  const [C, H, W] = model.imageShape;

  function run(pixels) {
    const scaled = Float32Array.from(
      pixels,
      (value, i) => (value - model.mean[Math.floor(i / (H * W))]) / model.std[Math.floor(i / (H * W))],
    );
    const outputs = [scaled];
    for (const step of steps) outputs.push(step.forward(outputs[outputs.length - 1], step));
    const logits = outputs[outputs.length - 1];
    return { outputs, logits, probabilities: softmax(logits) };
  }

  return { model, steps, run, channels: C, rows: H, columns: W };
}

// Runs images whose probabilities are known, and tells how far the page is from them.
function selfTest(network) {
  let worst = 0, wrong = 0;
  for (const test of network.model.tests) {
    const { probabilities } = network.run(pixelsOf(network.model, test));
    const best = (values) => values.indexOf(Math.max(...values));
    const difference = Math.max(...probabilities.map((p, i) => Math.abs(p - test.probabilities[i])));
    worst = Math.max(worst, difference);
    const clear = [...test.probabilities].sort((a, b) => b - a);
    if (clear[0] - clear[1] > 1e-4 && best(probabilities) !== best(test.probabilities)) wrong++;
  }
  return { worst, wrong, passed: worst < 1e-5 && wrong === 0 };
}

// Decodes a stored image: bytes, or floats where the network was trained on such.
function pixelsOf(model, image) {
  if (image.floats) return floatsOf(image.floats);
  return Float32Array.from(bytesOf(image.bytes), (byte) => byte / 255);
}
