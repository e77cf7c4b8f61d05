// Why: what the decision for a segment rests on.

const FEW = 10;
let shownSegment = null;

function showEvidence(segment) {
  shownSegment = segment;
  byId("panel-hint").hidden = true;
  byId("panel-body").hidden = false;
  titlePanel(segment);
  sumUp(segment);
  offerSounds(segment);
  drawEvidence();
  listComponents(segment, FEW);
}

function showFinding(item) {
  shownSegment = null;
  byId("panel-body").hidden = true;
  titlePanel(item);
  byId("panel-hint").textContent = `${item.note}. Its lane, and the segments around it, say more.`;
  byId("panel-hint").hidden = false;
}

function titlePanel(item) {
  byId("panel-title").replaceChildren(swatch(classNamed.get(item.label).colour),
    `${item.label}, ${clock(item.onset, 2)} \u2013 ${clock(item.offset, 2)}`);
}

function sumUp(segment) {
  const s = segment.index;
  const row = relevance.row(s);
  const total = (keep) => row.filter(keep).reduce((sum, r) => sum + r, 0);
  const bias = report.readout.bias[classNamed.get(segment.label).index];
  byId("panel-sum").textContent =
    `Confidence ${segment.confidence.toFixed(2)} over ${(segment.offset - segment.onset).toFixed(2)} s. `
    + `Mean logit ${signed(report.segments.logit[s])} = ${signed(total((r) => r > 0))} for `
    + `${signed(total((r) => r < 0))} against ${signed(bias)} bias.`;
  const flip = report.segments.flip?.[s];
  byId("panel-flip").hidden = flip === undefined;
  byId("panel-flip").textContent = flip < 0
    ? "No set of missing components would change the decision."
    : `Without its ${flip === 1 ? "most relevant component" : `${flip} most relevant components`} `
      + "the decision would fall.";
}

function offerSounds(segment) {
  const found = sounds.find((one) => one.segment === segment.index);
  const box = byId("panel-sounds");
  for (const old of box.querySelectorAll("audio")) {
    const address = old.src;
    old.removeAttribute("src"); // or it would go on loading what is no longer there
    old.load();
    URL.revokeObjectURL(address);
  }
  box.replaceChildren();
  if (!found) return;
  const part = (title, data) => {
    const src = URL.createObjectURL(new Blob([decodeBase64(data)], { type: "audio/ogg" }));
    return element("label", { text: title }, element("audio", { controls: true, src }));
  };
  box.append(element("div", { className: "sounds" },
    part("What the relevant components describe", found.relevant),
    part("The rest of the sound", found.rest)));
}

function drawEvidence() {
  if (!shownSegment || byId("recording").hidden) return;
  const segment = shownSegment;
  const { colour } = classNamed.get(segment.label);
  const spectrum = relevanceSpectrum(segment.index);
  drawSpectrum(byId("panel-spectrum"), spectrum, colour);
  const band = strongestBand(spectrum);
  byId("panel-spectrum").setAttribute("aria-label", band
    ? `Spectrum: half of the relevance lies from ${hertz(band[0])} to ${hertz(band[1])}`
    : "Spectrum: nothing speaks for the class but the bias");
  byId("panel-map").setAttribute("aria-label", "Relevance of each frequency over the segment");
  const { context, width, height } = prepare(byId("panel-map"));
  drawSpectrogram(context, width, height, segment.onset, segment.offset, drawEvidence);
  context.drawImage(reliefOf(segment), 0, 0, width, height);
}

function listComponents(segment, count) {
  const row = relevance.row(segment.index);
  const order = Array.from(row.keys()).sort((a, b) => Math.abs(row[b]) - Math.abs(row[a]));
  const chosen = new Set(selectedComponents(segment.index));
  const largest = Math.abs(row[order[0]]) || 1;
  const { colour, index } = classNamed.get(segment.label);
  const bias = report.readout.bias[index];
  const rest = order.slice(count).reduce((sum, k) => sum + row[k], 0);
  const rows = order.slice(0, count).map((k) => componentRow(k, row[k], chosen, largest, colour));
  if (order.length > count) rows.push(sumRow(`${order.length - count} others`, rest));
  rows.push(sumRow("bias", bias), sumRow("mean logit", report.segments.logit[segment.index]));
  rows[rows.length - 1].className = "total";
  byId("panel-components").replaceChildren(...rows);
  byId("panel-all").hidden = order.length <= count;
}

function componentRow(k, value, chosen, largest, colour) {
  const bar = element("i", { className: value < 0 ? "against" : "for" });
  const share = (50 * Math.abs(value)) / largest;
  bar.style.width = `${share}%`;
  bar.style.left = `${value < 0 ? 50 - share : 50}%`;
  if (value > 0) bar.style.background = colour;
  const { centres, bandwidths } = report.readout;
  return element("tr", {},
    element("td", { text: k }),
    element("td", { text: hertz(centres[k]), title: `\u00b1 ${hertz(bandwidths[k])}` }),
    element("td", { text: signed(value, 3) }),
    element("td", { text: chosen.has(k) ? "\u2713" : "" }),
    element("td", {}, element("div", { className: "bars" }, bar)));
}

const sumRow = (name, value) =>
  element("tr", {}, element("td", { text: name }), element("td"),
    element("td", { text: signed(value, 3) }), element("td"), element("td"));
