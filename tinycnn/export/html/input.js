// Images from wherever they come: drawn, chosen, dropped, pasted, from the camera.

// Resizes bytes (rows x columns) as Pillow's BILINEAR does: a triangle that is as wide as what it
// shrinks, first along rows, then along columns, rounded to bytes in between.
function resized(bytes, rows, columns, newRows, newColumns) {
  const wide = resizedRows(bytes, rows, columns, newColumns);
  return transposed(resizedRows(transposed(wide, rows, newColumns), newColumns, rows, newRows), newColumns, newRows);
}

function transposed(bytes, rows, columns) {
  const out = new Uint8Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = bytes[i * columns + j];
  return out;
}

function resizedRows(bytes, rows, columns, newColumns) {
  if (columns === newColumns) return bytes;
  const step = columns / newColumns, width = Math.max(1, step);
  const out = new Uint8Array(rows * newColumns);
  for (let j = 0; j < newColumns; j++) {
    const centre = (j + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - width + 0.5)), last = Math.min(columns, Math.floor(centre + width + 0.5));
    const weights = Array.from({ length: last - first }, (_, x) => Math.max(0, 1 - Math.abs((x + first - centre + 0.5) / width)));
    const total = weights.reduce((a, b) => a + b, 0);
    const fixed = weights.map((weight) => Math.floor((weight / total) * 2 ** 22 + 0.5));
    for (let i = 0; i < rows; i++) {
      let sum = 2 ** 21;
      for (let x = first; x < last; x++) sum += bytes[i * columns + x] * fixed[x - first];
      out[i * newColumns + j] = Math.floor(sum / 2 ** 22);
    }
  }
  return out;
}

// Bytes of one channel of a picture: red, green or blue, or the grey that Pillow makes of them.
function planeOf(data, channel) {
  const plane = new Uint8Array(data.length / 4);
  for (let i = 0, at = 0; i < plane.length; i++, at += 4)
    plane[i] = channel === null ? (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 32768) >> 16 : data[at + channel];
  return plane;
}

class ImageInput {
  // show(pixels) is called with every new image.
  constructor(network, show) {
    this.network = network;
    this.show = show;
    this.pad = document.getElementById("pad");
    this.context = this.pad.getContext("2d", { willReadFrequently: true });
    this.cell = Math.max(1, Math.round(320 / Math.max(network.rows, network.columns)));
    this.pad.width = this.cell * network.columns;
    this.pad.height = this.cell * network.rows;
    this.penAt = [this.pad.width / 2, this.pad.height / 2];
    this.listen();
  }

  get thickness() {
    return Math.max(this.cell, Math.max(this.pad.width, this.pad.height) * 0.075);
  }

  listen() {
    const on = (id, type, handler) => document.getElementById(id).addEventListener(type, handler);
    on("clear", "click", () => this.clear());
    on("file", "change", (event) => { this.load(event.target.files[0]); event.target.value = ""; });
    on("paper", "change", () => this.clear());
    on("centre", "change", () => this.take());
    on("camera", "click", () => this.toggleCamera());
    document.getElementById("camera").hidden = !navigator.mediaDevices?.getUserMedia;
    this.pad.addEventListener("pointerdown", (event) => this.penDown(event));
    this.pad.addEventListener("pointermove", (event) => this.last && this.penMove(event));
    for (const type of ["pointerup", "pointercancel"]) this.pad.addEventListener(type, () => (this.last = null));
    this.pad.addEventListener("keydown", (event) => this.penKey(event));
    this.pad.addEventListener("blur", () => (document.getElementById("pen").hidden = true));
    document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
    document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      this.load(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => this.load(event.clipboardData.files[0]));
  }

  clear() {
    this.stopCamera();
    this.context.fillStyle = document.getElementById("paper").value;
    this.context.fillRect(0, 0, this.pad.width, this.pad.height);
    this.drawn = true;
    this.take();
  }

  position(event) {
    const box = this.pad.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.pad.width, ((event.clientY - box.top) / box.height) * this.pad.height];
  }

  penDown(event) {
    this.stopCamera();
    this.pad.setPointerCapture(event.pointerId);
    this.last = this.position(event);
    this.stroke(this.last, this.last);
  }

  penMove(event) {
    const here = this.position(event);
    this.stroke(this.last, here);
    this.last = here;
  }

  penKey(event) {
    const moves = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0], " ": [0, 0] };
    if (event.key === "Delete" || event.key === "Backspace") return this.clear();
    if (!(event.key in moves)) return;
    event.preventDefault();
    const within = (value, size) => Math.max(0, Math.min(size, value));
    const [right, down] = moves[event.key], before = this.penAt;
    this.penAt = [within(before[0] + right * this.cell, this.pad.width), within(before[1] + down * this.cell, this.pad.height)];
    if (event.shiftKey || event.key === " ") this.stroke(before, this.penAt);
    const pen = document.getElementById("pen");
    pen.hidden = false;
    pen.style.left = `${(100 * this.penAt[0]) / this.pad.width}%`;
    pen.style.top = `${(100 * this.penAt[1]) / this.pad.height}%`;
  }

  stroke(from, to) {
    const { context } = this;
    context.strokeStyle = document.getElementById("ink").value;
    context.lineWidth = this.thickness;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    this.drawn = true;
    this.take();
  }

  // Takes what the pad shows as the image.
  take() {
    const centre = this.drawn && document.getElementById("centre").checked;
    this.takeFrom(centre ? this.centred() : this.pad);
  }

  takeFrom(canvas) {
    const { width, height } = canvas, { channels, rows, columns } = this.network;
    const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height);
    const pixels = new Float32Array(channels * rows * columns);
    const planes = channels === 3 ? [0, 1, 2] : [null];
    const [low, high] = this.network.model.range;
    planes.forEach((channel, c) => {
      const bytes = resized(planeOf(data, channel), height, width, rows, columns);
      pixels.set(Float32Array.from(bytes, (byte) => low + (byte / 255) * (high - low)), c * rows * columns);
    });
    if (planes.length < channels)
      for (let c = 1; c < channels; c++) pixels.copyWithin(c * rows * columns, 0, rows * columns);
    this.show(pixels);
  }

  // The drawing, moved to the middle and brought to seven tenths of the pad.
  centred() {
    const { width, height } = this.pad, { data } = this.context.getImageData(0, 0, width, height);
    let [top, left, bottom, right] = [height, width, -1, -1];
    for (let i = 0; i < height; i++)
      for (let j = 0; j < width; j++) {
        const at = 4 * (i * width + j);
        if (Math.abs(data[at] - data[0]) + Math.abs(data[at + 1] - data[1]) + Math.abs(data[at + 2] - data[2]) < 90) continue;
        [top, left, bottom, right] = [Math.min(top, i), Math.min(left, j), Math.max(bottom, i), Math.max(right, j)];
      }
    if (bottom < 0) return this.pad;
    const side = Math.max((bottom - top + 1) / height, (right - left + 1) / width) / 0.7;
    const canvas = element("canvas", { width, height }), context = canvas.getContext("2d");
    context.fillStyle = `rgb(${data[0]} ${data[1]} ${data[2]})`;
    context.fillRect(0, 0, width, height);
    context.setTransform(1 / side, 0, 0, 1 / side, width / 2 - (left + right + 1) / 2 / side, height / 2 - (top + bottom + 1) / 2 / side);
    context.drawImage(this.pad, 0, 0);
    return canvas;
  }

  load(file) {
    if (!file) return;
    this.stopCamera();
    const address = URL.createObjectURL(file), picture = new Image();
    picture.onload = () => { this.takePicture(picture, picture.naturalWidth, picture.naturalHeight); URL.revokeObjectURL(address); };
    picture.onerror = () => { this.say(`${file.name} is no image that this browser can show.`); URL.revokeObjectURL(address); };
    picture.src = address;
  }

  // Takes a picture in all its size, on white where it is transparent, as tinycnn reads files.
  takePicture(picture, width, height) {
    const full = element("canvas", { width, height }), context = full.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(full, 0, 0, this.pad.width, this.pad.height);
    this.drawn = false;
    this.takeFrom(full);
  }

  // Shows stored pixels as they are, and a picture of them on the pad.
  takePixels(pixels, picture) {
    this.stopCamera();
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(picture, 0, 0, this.pad.width, this.pad.height);
    this.drawn = false;
    this.show(pixels);
  }

  async toggleCamera() {
    if (this.stream) return this.stopCamera();
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      return this.say(`The browser does not let this page use a camera (${error.name}).`);
    }
    const video = document.getElementById("video");
    video.srcObject = this.stream;
    video.hidden = false;
    await video.play();
    document.getElementById("camera").textContent = "Keep this image";
    const frame = () => {
      if (!this.stream) return;
      this.takePicture(video, video.videoWidth, video.videoHeight);
      requestAnimationFrame(frame);
    };
    frame();
  }

  stopCamera() {
    if (!this.stream) return;
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = null;
    document.getElementById("video").hidden = true;
    document.getElementById("camera").textContent = "Camera";
  }

  say(text) {
    document.getElementById("verdict").textContent = text;
  }
}
