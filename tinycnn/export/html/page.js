// Puts the page together: an image in, the answer and all layers out.

const network = makeNetwork(JSON.parse(document.getElementById("model").textContent));
const { model } = network;
const state = { outputs: null, chosen: null, pixels: null };

function pictureOf(pixels) {
  const { channels, rows, columns } = network, size = rows * columns;
  const [low, high] = model.range, picture = new ImageData(columns, rows);
  const grey = (value) => Math.round((255 * (value - low)) / (high - low));
  for (let i = 0; i < size; i++) {
    const colour = channels === 3 ? [pixels[i], pixels[size + i], pixels[2 * size + i]] : [pixels[i], pixels[i], pixels[i]];
    picture.data.set([...colour.map(grey), 255], 4 * i);
  }
  const canvas = element("canvas", { width: columns, height: rows });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

function makeCards() {
  const input = {
    name: "input", layer: "input", says: model.scaling, inputShape: [], outputShape: model.imageShape,
    parameters: {}, explains: "The pixel, scaled as in training: ",
  };
  const cards = [new Card(0, input, network, choose)];
  let mapsBefore = null;
  network.steps.forEach((step, i) => {
    const last = i === network.steps.length - 1;
    const card = new Card(i + 1, { ...step, unitNames: last ? model.classNames : null }, network, choose);
    if (step.outputShape.length === 3) mapsBefore = null;
    else if (step.inputShape.length === 3) mapsBefore = step.inputShape;
    else if (step.layer === "linear") mapsBefore = null;
    card.mapsBefore = mapsBefore;
    cards.push(card);
  });
  return cards;
}

const cards = makeCards();
const hidden = (card) => card.step.layer === "same";
for (const card of cards) if (!hidden(card)) document.getElementById("layers").append(card.root);

const bars = model.classNames.map((name) => {
  const bar = element("span"), share = element("td");
  const row = element("tr", {}, element("th", { scope: "row", textContent: name, title: name }), element("td", { className: "bar" }, bar), share);
  document.querySelector("#bars tbody").append(row);
  return { row, bar, share };
});

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function showAnswer(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  bars.forEach(({ row, bar, share }, i) => {
    row.classList.toggle("best", i === best);
    bar.style.width = percent(probabilities[i]);
    share.textContent = percent(probabilities[i]);
  });
  const sure = `, ${percent(probabilities[best])} sure`;
  document.getElementById("verdict").replaceChildren(bold(model.classNames[best]), sure);
}

// Shows the first image at once, others at the next frame: a stroke makes more images than frames.
function show(pixels) {
  if (!state.outputs) return showNow(pixels);
  const waiting = state.pixels !== null;
  state.pixels = pixels;
  if (!waiting) requestAnimationFrame(() => { const now = state.pixels; state.pixels = null; showNow(now); });
}

function showNow(pixels) {
  const { outputs, probabilities } = network.run(pixels);
  state.outputs = outputs;
  const seen = document.getElementById("seen"), picture = pictureOf(pixels);
  seen.width = picture.width;
  seen.height = picture.height;
  seen.getContext("2d").drawImage(picture, 0, 0);
  showAnswer(probabilities);
  repaint();
}

function repaint() {
  colours = readColours();
  const showWinners = document.getElementById("winners").checked;
  cards.forEach((card, i) => {
    if (!hidden(card)) card.paint(state.outputs[i], cards[i + 1]?.step.layer === "maxpool", showWinners);
  });
  showChosen();
}

function choose(chosen) {
  state.chosen = chosen;
  showChosen();
}

function showChosen() {
  document.querySelectorAll(".inspector").forEach((inspector) => inspector.remove());
  for (const card of cards) card.unmark();
  if (!state.chosen) return;
  const inspector = inspect(cards, state.outputs, state.chosen, () => choose(null));
  cards[state.chosen.layer].root.append(inspector);
}

const input = new ImageInput(network, show);

model.examples.forEach((example, i) => {
  const pixels = pixelsOf(model, example), picture = pictureOf(pixels);
  const button = element("button", { type: "button", title: example.label || `example ${i + 1}` }, picture);
  button.setAttribute("aria-label", button.title);
  button.addEventListener("click", () => input.takePixels(pixels, picture));
  document.getElementById("examples").append(button);
});

function describe() {
  const { channels, rows, columns } = network, colour = channels === 3 ? "colour" : "grey";
  document.getElementById("about").textContent =
    `A small convolutional network with ${model.nParameters.toLocaleString("en")} parameters tells ${model.classNames.length} classes apart. ` +
    "It runs on this page, and the page asks for nothing from anywhere.";
  document.getElementById("seen-text").textContent =
    `What the network sees: ${colour}, ${columns} × ${rows} pixels. Images are squeezed to that size as tinycnn does it; ` +
    "decoders of JPEG may differ by a grey level.";
  document.getElementById("winners-label").hidden = !network.steps.some((step) => step.layer === "maxpool");
}

function timed(pixels) {
  network.run(pixels);
  const start = performance.now();
  let runs = 0;
  do { network.run(pixels); runs++; } while (performance.now() - start < 100 && runs < 500);
  return (performance.now() - start) / runs;
}

function reportSelfTest() {
  const line = document.getElementById("self-test");
  try {
    const { worst, wrong, passed } = selfTest(network);
    const ms = timed(pixelsOf(model, model.tests[0]));
    const detail = `${model.tests.length} images, probabilities differ from tinycnn's by ${worst.toExponential(1)} at most`;
    line.textContent = `self-test ${passed ? "passed" : "FAILED"}: ${detail}${wrong ? `, ${wrong} classes are wrong` : ""}. ${ms.toFixed(2)} ms for an image here.`;
    line.classList.toggle("failed", !passed);
  } catch (error) {
    line.textContent = `self-test FAILED: ${error}`;
    line.classList.add("failed");
  }
}

describe();
document.getElementById("colophon").textContent = model.colophon;
document.getElementById("winners").addEventListener("change", repaint);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
colours = readColours();
if (model.examples.length) document.querySelector("#examples button").click();
else input.clear();
reportSelfTest();
