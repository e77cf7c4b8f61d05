// Everything that is drawn on a canvas.

function theme() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {
    ink: value("--ink"), faint: value("--faint"), line: value("--line"),
    paper: value("--paper"), panel: value("--panel"), accent: value("--accent"),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
  };
}

/** Prepare a canvas at the resolution of the screen; sizes are in CSS pixels. */
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  return { context, width, height };
}

// --- the spectrogram: grey pictures side by side, decoded when they are first shown ------------

const tiles = report.spectrogram.tiles.map(() => null);

function tile(index, whenReady) {
  if (tiles[index] === null) {
    tiles[index] = new Image();
    tiles[index].src = report.spectrogram.tiles[index];
    tiles[index].decode().then(whenReady, whenReady);
  }
  return tiles[index].complete && tiles[index].naturalWidth ? tiles[index] : null;
}

/** Draw what sounds from start to end (seconds) over a whole canvas. */
function drawSpectrogram(context, width, height, start, end, whenReady) {
  const { seconds, columns, bins, tile: size } = report.spectrogram;
  const first = Math.max(0, Math.floor(start / seconds));
  const last = Math.min(columns, Math.ceil(end / seconds));
  const x = (column) => ((column * seconds - start) / (end - start)) * width;
  for (let index = Math.floor(first / size); index * size < last; index++) {
    const picture = tile(index, whenReady);
    if (!picture) continue;
    const from = Math.max(first, index * size);
    const to = Math.min(last, index * size + picture.naturalWidth);
    context.drawImage(
      picture, from - index * size, 0, to - from, bins, x(from), 0, x(to) - x(from), height);
  }
  if (theme().dark) return;
  // Dark on light, as print has it: the difference to white is the negative.
  context.globalCompositeOperation = "difference";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
}

const relief = { segment: null, picture: null };

/** The relevance map of a segment as a picture, transparent where nothing is relevant. */
function reliefOf(segment) {
  if (relief.segment === segment) return relief.picture;
  const { columns, bins, values } = relevanceMap(segment.index);
  const picture = element("canvas", { width: Math.max(columns, 1), height: bins });
  const context = picture.getContext("2d");
  const image = context.createImageData(picture.width, bins);
  const rgb = channels(classNamed.get(segment.label).colour);
  const top = values.reduce((most, value) => Math.max(most, value), 0) || 1;
  for (let t = 0; t < columns; t++) {
    for (let f = 0; f < bins; f++) {
      const alpha = 235 * Math.sqrt(Math.max(values[t * bins + f], 0) / top);
      image.data.set([...rgb, alpha], 4 * ((bins - 1 - f) * picture.width + t));
    }
  }
  context.putImageData(image, 0, 0);
  Object.assign(relief, { segment, picture });
  return picture;
}

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

// --- lanes -------------------------------------------------------------------------------------

const LANE = 40;
const SUBLANE = 15;

/** Where each lane lies: a class, and below it what others say of the class. */
function laneLayout() {
  const rows = [];
  let top = 0;
  for (const entry of shownClasses) {
    rows.push({ entry, lane: null, top, height: LANE });
    top += LANE;
    for (const lane of report.lanes.filter((one) => one.classes.includes(entry.name))) {
      rows.push({ entry, lane, top, height: SUBLANE });
      top += SUBLANE;
    }
  }
  return { rows, height: top };
}

function drawLanes(context, width, layout, view, { isShown, selected }) {
  const colours = theme();
  const x = (seconds) => (seconds - view.start) * view.scale;
  for (const { entry, lane, top, height } of layout.rows) {
    context.fillStyle = lane ? colours.panel : colours.paper;
    context.fillRect(0, top, width, height);
    if (lane) drawOther(context, lane, entry, top, height, view, x);
    else drawDecisions(context, entry, top, height, view, x, isShown);
    context.fillStyle = colours.line;
    context.fillRect(0, top + height - 1, width, 1);
    if (!lane) drawCurve(context, width, entry, top, height, view, colours);
  }
  if (selected) drawMark(context, layout, selected, view, x, colours);
}

function drawDecisions(context, entry, top, height, view, x, isShown) {
  for (const segment of segments) {
    if (segment.onset >= view.end) break;
    if (segment.label !== entry.name || segment.offset <= view.start) continue;
    const wide = Math.max(x(segment.offset) - x(segment.onset), 1);
    context.globalAlpha = isShown(segment) ? 0.45 : 0.12;
    context.fillStyle = entry.colour;
    context.fillRect(x(segment.onset), top + 1, wide, height - 2);
    context.globalAlpha = isShown(segment) ? 1 : 0.3;
    context.fillRect(x(segment.onset), top + height - 5, wide, 4);
  }
  context.globalAlpha = 1;
}

function drawOther(context, lane, entry, top, height, view, x) {
  context.fillStyle = entry.colour;
  for (const [label, onset, offset] of lane.segments) {
    if (label !== entry.name || offset <= view.start || onset >= view.end) continue;
    context.fillRect(x(onset), top + 4, Math.max(x(offset) - x(onset), 1), height - 8);
  }
}

/** The probability; where a pixel stands for several values, from the least to the largest. */
function drawCurve(context, width, entry, top, height, view, colours) {
  const curve = curves[entry.index];
  const perPixel = 1 / (view.scale * report.curves.seconds);
  const first = view.start / report.curves.seconds;
  const y = (p) => top + 3 + (1 - p) * (height - 7);
  context.strokeStyle = colours.faint;
  context.setLineDash([2, 3]);
  context.strokeRect(-2, y(entry.threshold), width + 4, 0);
  context.setLineDash([]);
  context.strokeStyle = colours.ink;
  context.beginPath();
  for (let pixel = 0; pixel < width; pixel++) {
    const from = Math.floor(first + pixel * perPixel);
    if (from >= curve.length) break;
    let [least, most] = [1, 0];
    for (let i = from; i < Math.max(from + 1, first + (pixel + 1) * perPixel); i++) {
      if (i >= curve.length) break;
      least = Math.min(least, curve[i]);
      most = Math.max(most, curve[i]);
    }
    context.lineTo(pixel, y(most));
    if (least < most) context.lineTo(pixel, y(least));
  }
  context.stroke();
}

function drawMark(context, layout, item, view, x, colours) {
  const place = layout.rows.find((row) => !row.lane && row.entry.name === item.label);
  if (!place) return;
  context.strokeStyle = colours.ink;
  context.lineWidth = 2;
  const wide = Math.max(x(item.offset) - x(item.onset), 3);
  context.strokeRect(x(item.onset), place.top + 1, wide, place.height - 3);
  context.lineWidth = 1;
}

function drawMinimap(context, width, height, view) {
  const colours = theme();
  const row = height / Math.max(shownClasses.length, 1);
  const scale = width / duration;
  for (const segment of segments) {
    const entry = classNamed.get(segment.label);
    const wide = Math.max((segment.offset - segment.onset) * scale, 0.7);
    context.fillStyle = entry.colour;
    context.fillRect(segment.onset * scale, shownClasses.indexOf(entry) * row + 1, wide, row - 2);
  }
  context.strokeStyle = colours.ink;
  context.lineWidth = 2;
  const wide = Math.max((view.end - view.start) * scale - 2, 4);
  context.strokeRect(Math.min(view.start * scale + 1, width - wide - 1), 1, wide, height - 2);
  context.lineWidth = 1;
}

// --- axes and spectra --------------------------------------------------------------------------

const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

function drawTimes(context, width, view) {
  const colours = theme();
  const step = TIME_STEPS.find((one) => one * view.scale >= 70) ?? 7200;
  context.fillStyle = colours.faint;
  for (let n = Math.ceil(view.start / step); n * step <= view.end; n++) {
    const x = (n * step - view.start) * view.scale;
    context.fillRect(x, 0, 1, 5);
    const text = clock(n * step, step < 1 ? 1 : 0);
    if (x + 4 + context.measureText(text).width < width) context.fillText(text, x + 4, 14);
  }
}

const FREQUENCY_TICKS = [100, 200, 500, 1000, 2000, 5000];

/** A spectrum over frequency on a logarithmic axis, which is nearer to hearing. */
function drawSpectrum(canvas, spectrum, colour, range) {
  const { context, width, height } = prepare(canvas);
  const colours = theme();
  const [left, bottom] = [40, 18];
  const frequencies = report.readout.frequencies;
  const lowest = Math.log(frequencies.find((f) => f >= 50));
  const highest = Math.log(frequencies[frequencies.length - 1]);
  const { low, high } = range ?? spectrumRange([spectrum]);
  const x = (f) => left + ((Math.log(f) - lowest) / (highest - lowest)) * (width - left - 6);
  const y = (value) => 6 + ((high - value) / (high - low)) * (height - bottom - 6);
  drawGrid(context, width, height - bottom, x, y, low, high, colours);
  context.beginPath();
  context.moveTo(x(Math.exp(lowest)), y(0));
  frequencies.forEach((f, i) => Math.log(f) >= lowest && context.lineTo(x(f), y(spectrum[i])));
  context.lineTo(x(Math.exp(highest)), y(0));
  context.fillStyle = colour;
  context.globalAlpha = 0.45;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = colours.ink;
  context.stroke();
}

function drawGrid(context, width, height, x, y, low, high, colours) {
  context.fillStyle = colours.faint;
  context.textAlign = "center";
  for (const f of FREQUENCY_TICKS.filter((tick) => x(tick) > 40 && x(tick) < width)) {
    context.fillRect(x(f), height, 1, 4);
    context.fillText(f >= 1000 ? `${f / 1000}k` : `${f}`, x(f), height + 15);
  }
  context.textAlign = "right";
  for (const value of low < 0 ? [low, 0, high] : [0, high / 2, high]) {
    context.fillText(Math.abs(value).toPrecision(2).replace(/^/, value < 0 ? "\u2212" : ""),
      36, Math.min(Math.max(y(value) + 4, 10), height));
    context.fillStyle = colours.line;
    context.fillRect(40, y(value), width - 46, 1);
    context.fillStyle = colours.faint;
  }
  context.textAlign = "left";
}

function spectrumRange(spectra) {
  const values = spectra.flatMap((spectrum) => Array.from(spectrum));
  const high = values.reduce((most, value) => Math.max(most, value), 0);
  const low = values.reduce((least, value) => Math.min(least, value), 0);
  return { low, high: high || (low < 0 ? 0 : 1) };
}

/** The narrowest band that holds half of a spectrum, in Hz; null when there is nothing. */
function strongestBand(spectrum) {
  const total = spectrum.reduce((sum, value) => sum + value, 0);
  if (!(total > 0)) return null;
  let [start, sum, best] = [0, 0, null];
  for (let stop = 0; stop < spectrum.length; stop++) {
    sum += spectrum[stop];
    while (sum - spectrum[start] >= total / 2) sum -= spectrum[start++];
    if (sum >= total / 2 && (!best || stop - start < best[1] - best[0])) best = [start, stop];
  }
  return best && best.map((bin) => report.readout.frequencies[bin]);
}
