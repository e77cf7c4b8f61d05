// The page of classes: what marks each over many segments.

function fillClasses() {
  const { source, counts, components, similarity } = report.prototypes;
  byId("classes-source").textContent =
    `Prototypes: the mean relevance over all segments of a class, of ${source}. Where a spectrum `
    + "falls below zero, components that speak against the class prevail.";
  byId("class-cards").replaceChildren(...classes.map(({ name, colour, index }) => {
    const marks = components[index].map((k) => `${k} (${hertz(report.readout.centres[k])})`);
    const canvas = element("canvas", { id: `prototype-${index}` });
    canvas.setAttribute("role", "img");
    const band = strongestBand(report.prototypes.spectra[index].map((v) => Math.max(v, 0)));
    canvas.setAttribute("aria-label", band
      ? `Spectrum of ${name}: half of it lies from ${hertz(band[0])} to ${hertz(band[1])}`
      : `No spectrum: no segment of ${name}`);
    return element("figure", {},
      element("h3", {}, swatch(colour), `${name}, ${plural(counts[index], "segment")}`),
      canvas,
      element("figcaption", {
        text: marks.length ? `Most characteristic components: ${marks.join(", ")}`
          : "No component marks it more than the others.",
      }));
  }));
  fillSimilarity(similarity);
}

function fillSimilarity(similarity) {
  const head = element("tr", {}, element("td"),
    ...classes.map(({ name }) => element("th", { scope: "col", text: name })));
  const rows = classes.map(({ name, index }) => element("tr", {},
    element("th", { scope: "row", text: name }),
    ...similarity[index].map((value) =>
      element("td", { text: value === null ? "\u2013" : value.toFixed(2) }))));
  byId("similarity").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

function drawClasses() {
  const { spectra, counts } = report.prototypes;
  const range = spectrumRange(spectra);
  classes.filter(({ index }) => counts[index]).forEach(({ colour, index }) =>
    drawSpectrum(byId(`prototype-${index}`), spectra[index], colour, range));
}
