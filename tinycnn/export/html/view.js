// Feature maps as colours, one card for each layer, and what is chosen in them.

// Pixels of the screen that a map is about wide, of so many.
function targetSize(maps) {
  return maps <= 8 ? 116 : maps <= 32 ? 84 : 60;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "style") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function number(value) {
  const size = Math.abs(value);
  if (size < 0.005) return value === 0 ? "0" : "0.00";
  return size >= 1000 ? value.toExponential(1) : value.toFixed(size < 10 ? 2 : 1);
}

// Colours of the theme, as red, green and blue.
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const parse = (name) => {
    const hex = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
    return [hex >> 16, (hex >> 8) & 255, hex & 255];
  };
  return { positive: parse("--positive"), negative: parse("--negative"), neutral: parse("--neutral"), mark: parse("--mark") };
}

let colours = null;

// A value's colour: neutral at 0, and full at the largest value around.
function shade(value, largest) {
  const end = value < 0 ? colours.negative : colours.positive;
  const share = largest > 0 ? Math.min(1, Math.abs(value) / largest) ** 0.7 : 0;
  return colours.neutral.map((from, i) => Math.round(from + share * (end[i] - from)));
}

function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

// Black or white, whichever can be read on a colour.
function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#111" : "#fff";
}

function largestOf(values) {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}

// Paints rows x columns values from an index on, each a square of some pixels.
function paintValues(canvas, values, at, rows, columns, largest, scale) {
  canvas.width = columns;
  canvas.height = rows;
  canvas.style.width = `${columns * scale}px`;
  canvas.style.height = `${rows * scale}px`;
  const picture = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++)
    picture.data.set([...shade(values[at + i], largest), 255], 4 * i);
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

// Kernels of all channels of a filter, side by side in a nearly square sheet.
function paintFilter(canvas, weight, k, [C, R, S], largest) {
  const across = C <= 4 ? C : Math.ceil(Math.sqrt(C)), down = Math.ceil(C / across);
  const columns = across * (S + 1) - 1, rows = down * (R + 1) - 1;
  const scale = Math.max(1, Math.min(14, Math.floor(60 / columns)));
  canvas.width = columns;
  canvas.height = rows;
  canvas.style.width = `${columns * scale}px`;
  const context = canvas.getContext("2d");
  for (let c = 0; c < C; c++)
    for (let r = 0; r < R; r++)
      for (let s = 0; s < S; s++) {
        context.fillStyle = css(shade(weight[((k * C + c) * R + r) * S + s], largest));
        context.fillRect((c % across) * (S + 1) + s, Math.floor(c / across) * (R + 1) + r, 1, 1);
      }
}

// Marks the winner of each 2x2 window that pooling looks at with a dot, unless all are equal.
function dotWinners(canvas, values, at, [rows, columns], scale) {
  const dots = Math.max(1, Math.floor(scale / 4)), sharp = element("canvas", { width: columns * scale, height: rows * scale });
  const context = sharp.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, sharp.width, sharp.height);
  context.fillStyle = css(colours.mark);
  for (let p = 0; p < rows >> 1; p++)
    for (let q = 0; q < columns >> 1; q++) {
      const [i, j] = winnerOf(values, at, columns, p, q), corner = at + 2 * p * columns + 2 * q;
      const lowest = Math.min(values[corner], values[corner + 1], values[corner + columns], values[corner + columns + 1]);
      if (values[at + i * columns + j] === lowest) continue;
      const middle = (scale - dots) / 2;
      context.fillRect(j * scale + middle, i * scale + middle, dots, dots);
    }
  canvas.width = sharp.width;
  canvas.height = sharp.height;
  canvas.getContext("2d").drawImage(sharp, 0, 0);
}

// Row and column of the largest value of a window; among equals the first.
function winnerOf(values, at, columns, p, q) {
  let best = [2 * p, 2 * q];
  for (const [i, j] of [[2 * p, 2 * q + 1], [2 * p + 1, 2 * q], [2 * p + 1, 2 * q + 1]])
    if (values[at + i * columns + j] > values[at + best[0] * columns + best[1]]) best = [i, j];
  return best;
}

// One card: the maps (C, H, W) or the units (F,) that a layer gives.
class Card {
  constructor(index, step, network, choose) {
    this.index = index;
    this.step = step;
    this.shape = step.outputShape;
    this.choose = choose;
    this.network = network;
    this.box = element("div", { className: this.isMaps ? "maps" : "units" });
    const shape = this.shape.join(" × ");
    const from = index ? `${step.inputShape.join(" × ")} → ` : "";
    this.root = element(
      "article", { className: "layer" },
      element("div", { className: "head" }, element("h3", { textContent: step.name }), element("span", { textContent: step.says }), element("span", { textContent: from + shape })),
      this.box,
    );
    if (this.isMaps) this.addMaps();
    else this.addUnits();
  }

  get isMaps() {
    return this.shape.length === 3;
  }

  get scale() {
    const [K, H, W] = this.shape;
    return Math.max(1, Math.floor(targetSize(K) / Math.max(H, W)));
  }

  addMaps() {
    const [K, H, W] = this.shape;
    const filters = this.step.layer === "conv" ? this.step.parameters.weight : null;
    const largest = filters && largestOf(filters);
    this.maps = Array.from({ length: K }, (_, k) => {
      const canvas = element("canvas", { tabIndex: 0 });
      canvas.setAttribute("role", "button");
      canvas.setAttribute("aria-label", `${this.step.name}, map ${k + 1} of ${K}, ${H} rows and ${W} columns`);
      const root = element("div", { className: "map" }, element("div", { style: "position:relative" }, canvas));
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        const place = (offset, size, count) => Math.max(0, Math.min(count - 1, Math.floor((offset / size) * count)));
        this.choose({ layer: this.index, k, i: place(event.clientY - box.top, box.height, H), j: place(event.clientX - box.left, box.width, W) });
      });
      canvas.addEventListener("keydown", (event) => this.onKey(event, k));
      if (filters) this.addFilter(root, k, filters, largest);
      this.box.append(root);
      return { root: canvas.parentElement, canvas };
    });
  }

  addFilter(root, k, filters, largest) {
    const canvas = element("canvas", { className: "filter", title: `filter ${k + 1}` });
    this.repaintFilters ??= [];
    this.repaintFilters.push(() => paintFilter(canvas, filters, k, [this.step.inputShape[0], ...this.step.kernel], largest));
    root.append(canvas);
  }

  addUnits() {
    const [F] = this.shape;
    const names = this.step.unitNames;
    this.box.classList.toggle("many", !names);
    this.units = Array.from({ length: F }, (_, u) => {
      const text = element("b"), bar = element("i");
      const button = element("button", { type: "button" }, text, bar);
      button.addEventListener("click", () => this.choose({ layer: this.index, k: u, i: 0, j: 0 }));
      this.box.append(button);
      return { button, text, bar, name: names ? names[u] : `unit ${u + 1}` };
    });
  }

  onKey(event, k) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0], " ": [0, 0] };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const [, H, W] = this.shape, here = this.chosen?.k === k ? this.chosen : { i: H >> 1, j: W >> 1 };
    const first = this.chosen?.k !== k;
    const [down, right] = first ? [0, 0] : moves[event.key];
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.choose({ layer: this.index, k, i: within(here.i + down, H), j: within(here.j + right, W) });
  }

  paint(values, feedsPool, showWinners) {
    if (!this.isMaps) return this.paintUnits(values);
    const [, H, W] = this.shape, largest = largestOf(values);
    this.maps.forEach(({ canvas }, k) => {
      paintValues(canvas, values, k * H * W, H, W, largest, this.scale);
      if (feedsPool && showWinners && this.scale >= 3) dotWinners(canvas, values, k * H * W, [H, W], this.scale);
    });
    this.repaintFilters?.forEach((repaint) => repaint());
  }

  paintUnits(values) {
    const largest = largestOf(values);
    this.units.forEach(({ button, text, bar, name }, u) => {
      text.textContent = `${name} ${number(values[u])}`;
      button.title = `${name}: ${number(values[u])}`;
      bar.style.background = css(shade(values[u], largest));
    });
  }

  // Frames rows and columns of a map, or of all; (i, j) may lie outside.
  mark(k, i, j, rows, columns) {
    const [K, H, W] = this.shape;
    for (let map = 0; map < K; map++) {
      if (k !== null && map !== k) continue;
      const top = Math.max(0, i), left = Math.max(0, j);
      const bottom = Math.min(H, i + rows), right = Math.min(W, j + columns);
      const style = `top:${(100 * top) / H}%;left:${(100 * left) / W}%;height:${(100 * (bottom - top)) / H}%;width:${(100 * (right - left)) / W}%`;
      if (bottom > top && right > left) this.maps[map].root.append(element("i", { className: "mark", style }));
    }
  }

  unmark() {
    this.chosen = null;
    this.root.querySelectorAll(".mark").forEach((mark) => mark.remove());
    this.units?.forEach(({ button }) => button.classList.remove("chosen"));
  }
}
