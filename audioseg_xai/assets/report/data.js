"use strict";
// What the page shows, as it was written into it. All scripts share the names defined here.

const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId("report-data").textContent);
const sounds = JSON.parse(byId("sounds-data").textContent);

function decodeBase64(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

/** A table of whole numbers with a scale a row; row(r) gives its values. */
function unpack({ kind, columns, scales, data }) {
  const bytes = decodeBase64(data);
  const numbers = kind === "uint8" ? bytes : new Int16Array(bytes.buffer);
  const row = (r) =>
    Float32Array.from(numbers.subarray(r * columns, (r + 1) * columns), (n) => n * scales[r]);
  return { columns, rows: scales.length, row };
}

const classes = report.classes.map((entry, index) => ({ ...entry, index }));
const shownClasses = classes.filter((entry) => entry.decided);
const classNamed = new Map(classes.map((entry) => [entry.name, entry]));
const duration = report.duration;

const segments = report.segments.label.map((label, index) => ({
  index,
  label,
  onset: report.segments.onset[index],
  offset: report.segments.offset[index],
  confidence: report.segments.confidence[index],
}));

const probabilities = unpack(report.curves.probabilities);
const curves = classes.map((entry) => probabilities.row(entry.index));

const dictionary = unpack(report.readout.dictionary);
const relevance = unpack(report.segments.relevance);
const activationMaps = decodeBase64(report.segments.maps);

// Where the map of each segment begins in activationMaps.
const mapStarts = [0];
segments.forEach((_, s) => {
  const count = report.segments.first[s + 1] - report.segments.first[s];
  mapStarts.push(mapStarts[s] + count * report.segments.columns[s]);
});

const selectedComponents = (s) =>
  report.segments.selected.slice(report.segments.first[s], report.segments.first[s + 1]);

/** W r of the selected components of a segment: relevance over frequency. */
function relevanceSpectrum(s) {
  const row = relevance.row(s);
  const spectrum = new Float32Array(dictionary.columns);
  for (const k of selectedComponents(s)) {
    const atom = dictionary.row(k);
    for (let f = 0; f < spectrum.length; f++) spectrum[f] += row[k] * atom[f];
  }
  return spectrum;
}

/** The same over time: values[t * bins + f]. The mean over t is the spectrum. */
function relevanceMap(s) {
  const bins = dictionary.columns;
  const columns = report.segments.columns[s];
  const values = new Float32Array(bins * columns);
  const row = relevance.row(s);
  selectedComponents(s).forEach((k, position) => {
    const start = mapStarts[s] + position * columns;
    const activations = activationMaps.subarray(start, start + columns);
    const mean = activations.reduce((sum, value) => sum + value, 0) / columns;
    const atom = dictionary.row(k);
    for (let t = 0; t < columns && mean > 0; t++) {
      const weight = (row[k] * activations[t]) / mean;
      for (let f = 0; f < bins; f++) values[t * bins + f] += weight * atom[f];
    }
  });
  return { columns, bins, values };
}
