// Where one value comes from: the patch, the weights and the sum behind a pixel or a unit.

const SHOWN_CHANNELS = 4; // those that add most; the others are summed up

// A small table of numbers on their colours. cells: {value, outside, winner}
function gridOf(rows, largest, caption) {
  const body = rows.map((row) =>
    element("tr", {}, ...row.map((cell) => {
      const td = element("td", { textContent: number(cell.value) });
      const colour = shade(cell.value, largest);
      if (!cell.outside) td.style.background = css(colour);
      if (!cell.outside) td.style.color = inkOn(colour);
      td.classList.toggle("outside", Boolean(cell.outside));
      td.classList.toggle("winner", Boolean(cell.winner));
      return td;
    })),
  );
  return element("table", { className: "grid" }, element("caption", { textContent: caption }), element("tbody", {}, ...body));
}

function nameOfMap(card, c) {
  const [C] = card.shape;
  if (card.step.layer === "input" && C === 3) return ["red", "green", "blue"][c];
  return C > 1 ? `map ${c + 1}` : "patch";
}

function sign(text) {
  return element("span", { className: "sign", textContent: text });
}

function result(...parts) {
  return element("p", { className: "result" }, ...parts);
}

function bold(text) {
  return element("b", { textContent: text });
}

// What the inspector shows of each kind of layer; each returns elements and marks its sources.
const EXPLAIN = {
  conv({ step, input, output, k, i, j, source }) {
    const [C, H, W] = step.inputShape, [R, S] = step.kernel, [top, left] = step.border;
    const { weight, bias } = step.parameters;
    source.mark(null, i - top, j - left, R, S);
    const channels = Array.from({ length: C }, (_, c) => {
      const rows = Array.from({ length: R }, (_, r) => Array.from({ length: S }, (_, s) => {
        const y = i + r - top, x = j + s - left, outside = y < 0 || y >= H || x < 0 || x >= W;
        const value = outside ? 0 : input[(c * H + y) * W + x];
        return { value, outside, weight: weight[((k * C + c) * R + r) * S + s] };
      }));
      return { c, rows, sum: rows.flat().reduce((sum, cell) => sum + cell.value * cell.weight, 0) };
    });
    const shown = [...channels].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, SHOWN_CHANNELS);
    const others = channels.filter((channel) => !shown.includes(channel));
    const all = (take) => largestOf(channels.flatMap(({ rows }) => rows.flat().map(take)));
    const largest = [all((cell) => cell.value), largestOf(weight), all((cell) => cell.value * cell.weight)];
    const lines = shown.map(({ c, rows, sum }) => element(
      "div", { className: "terms" },
      gridOf(rows, largest[0], nameOfMap(source, c)), sign("×"),
      gridOf(rows.map((row) => row.map((cell) => ({ value: cell.weight }))), largest[1], "weights"), sign("="),
      gridOf(rows.map((row) => row.map((cell) => ({ value: cell.value * cell.weight }))), largest[2], "products"),
      sign("→"), bold(number(sum)),
    ));
    if (others.length) lines.push(element("p", { textContent: `The other ${others.length} maps add ${number(others.reduce((sum, { sum: more }) => sum + more, 0))}.` }));
    const sum = channels.reduce((total, channel) => total + channel.sum, 0);
    const more = bias ? ` + bias ${number(bias[k])}` : "";
    return [...lines, result(`Sum of all products ${number(sum)}${more} = `, bold(number(output)))];
  },

  relu({ step, input, output, k, i, j, source, at }) {
    if (step.inputShape.length === 3) source.mark(k, i, j, 1, 1);
    const value = input[at];
    const why = value > 0 ? "it is above 0 and passes" : "what is not above 0 becomes 0";
    return [result(`max(0, ${number(value)}) = `, bold(number(output)), `: ${why}.`)];
  },

  maxpool({ step, input, output, k, i, j, source }) {
    const [, H, W] = step.inputShape, at = k * H * W;
    source.mark(k, 2 * i, 2 * j, 2, 2);
    const [bestI, bestJ] = winnerOf(input, at, W, i, j);
    const rows = [0, 1].map((r) => [0, 1].map((s) => ({
      value: input[at + (2 * i + r) * W + 2 * j + s], winner: 2 * i + r === bestI && 2 * j + s === bestJ,
    })));
    return [
      element("div", { className: "terms" }, gridOf(rows, largestOf(input), "window"), sign("→"), bold(number(output))),
      result("The largest of the window wins: ", bold(number(output)), `, from row ${bestI}, column ${bestJ}.`),
    ];
  },

  linear({ step, input, output, k, maps }) {
    const { weight, bias } = step.parameters, F = input.length;
    const products = Float32Array.from(input, (value, f) => value * weight[k * F + f]);
    const [C, H, W] = maps ?? [F, 1, 1], size = H * W;
    const sums = Array.from({ length: C }, (_, c) => ({ c, sum: products.subarray(c * size, (c + 1) * size).reduce((a, b) => a + b, 0) }));
    const shown = sums.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, 16);
    const largest = largestOf(products), scale = Math.max(2, Math.floor(84 / Math.max(H, W, maps ? 1 : 3)));
    const pictures = shown.map(({ c, sum }) => {
      const canvas = element("canvas");
      paintValues(canvas, products, c * size, H, W, largest, scale);
      return element("div", {}, canvas, `${maps ? "map" : "unit"} ${c + 1}: ${number(sum)}`);
    });
    const rest = sums.slice(shown.length).reduce((total, { sum }) => total + sum, 0);
    const sum = sums.reduce((total, each) => total + each.sum, 0);
    const more = bias ? ` + bias ${number(bias[k])}` : "";
    return [
      element("p", { textContent: "Each value of the layer before, times the weight that this unit gives it:" }),
      element("div", { className: "evidence" }, ...pictures),
      ...(C > shown.length ? [element("p", { textContent: `The other ${C - shown.length} add ${number(rest)}.` })] : []),
      result(`Sum of all products ${number(sum)}${more} = `, bold(number(output))),
    ];
  },
};

// Shows in a card where the chosen value comes from, and marks it and its sources.
function inspect(cards, outputs, chosen, close) {
  const card = cards[chosen.layer], { step } = card;
  const maps = card.isMaps, [, H, W] = maps ? card.shape : [0, 1, 1];
  const at = (chosen.k * H + chosen.i) * W + chosen.j, output = outputs[chosen.layer][at];
  if (maps) card.mark(chosen.k, chosen.i, chosen.j, 1, 1);
  else card.units[chosen.k].button.classList.add("chosen");
  card.chosen = chosen;
  const where = maps
    ? `map ${chosen.k + 1}, row ${chosen.i}, column ${chosen.j}`
    : card.units[chosen.k].name;
  const explain = EXPLAIN[step.layer];
  // Flatten and Dropout have no cards of their own: what they pass on stands in the one before.
  let before = chosen.layer - 1;
  while (before > 0 && cards[before].step.layer === "same" && cards[before].isMaps) before--;
  const source = cards[before];
  const body = explain
    ? explain({ ...chosen, step, output, at, source, input: outputs[chosen.layer - 1], maps: source.mapsBefore ?? null })
    : [result(step.layer === "input" ? step.explains : "Value ", bold(number(output)))];
  return element(
    "div", { className: "inspector" },
    element("button", { className: "close", type: "button", textContent: "×", ariaLabel: "Close", onclick: close }),
    element("h3", { textContent: `${step.name}: ${where}` }),
    ...body,
  );
}
