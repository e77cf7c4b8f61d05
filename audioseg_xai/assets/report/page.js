// Everything together: what is chosen, filtered, played and linked to.

const wavesurfer = makeWavesurfer();
const state = { kind: kinds[0], selected: null, hiddenClasses: new Set(), confidence: 0 };

const isShown = (item) =>
  !state.hiddenClasses.has(item.label) && (item.confidence ?? 1) >= state.confidence;

const list = new RegionList(byId("list"), (item) => choose(item));
const timeline = new Timeline(wavesurfer, {
  chosen: (time) => seek(time),
  picked: (segment) => {
    if (state.kind !== kinds[0]) setKind(kinds[0]);
    choose(segment);
  },
  state: () => ({ isShown, selected: state.selected }),
});

// --- choosing and filtering --------------------------------------------------------------------

function choose(item, { go = true } = {}) {
  if (!item) return;
  state.selected = item;
  list.select(item);
  if (item.index === undefined) showFinding(item);
  else showEvidence(item);
  if (go) seek(item.onset);
  timeline.show(item);
  remember(item);
}

function setKind(kind) {
  state.kind = kind;
  byId(`kind-${kind.name}`).checked = true;
  filter();
}

function filter() {
  const items = state.kind.items.filter(isShown);
  list.show(items);
  const all = state.kind.items.length;
  const unlisted = state.kind.name === "differing" && report.unlisted
    ? `; ${report.unlisted} shorter ones are not listed` : "";
  byId("status").textContent = `${items.length} of ${all} shown${unlisted}`;
  for (const id of ["rttm", "csv", "audacity"]) byId(`export-${id}`).disabled = !items.length;
  timeline.redraw();
}

function fillControls() {
  kinds.forEach((kind, position) => {
    const input = element("input", {
      type: "radio", name: "kind", id: `kind-${kind.name}`, checked: position === 0,
      onchange: () => setKind(kind),
    });
    byId("kinds").append(element("label", {}, input, `${kind.title} (${kind.items.length})`));
  });
  for (const { name, colour } of shownClasses) {
    const input = element("input", { type: "checkbox", checked: true, value: name });
    input.addEventListener("change", () => {
      state.hiddenClasses[input.checked ? "delete" : "add"](name);
      filter();
    });
    byId("filter-classes").append(element("label", {}, input, swatch(colour), name));
  }
  byId("filter-confidence").addEventListener("input", (event) => {
    state.confidence = Number(event.target.value);
    byId("filter-confidence-value").textContent = state.confidence.toFixed(2);
    filter();
  });
}

// --- playing -----------------------------------------------------------------------------------

function seek(time) {
  const wanted = Math.min(Math.max(time, 0), duration);
  // Of two seeks in quick succession wavesurfer.js forgets the second; the browser does not.
  if (audio.readyState >= HTMLMediaElement.HAVE_METADATA) audio.currentTime = wanted;
  else wavesurfer.setTime(wanted);
  showTime();
}

function showTime() {
  const now = wavesurfer.getCurrentTime();
  byId("clock").textContent = `${clock(now)} / ${clock(duration)}`;
  byId("position").value = now;
  byId("position").setAttribute("aria-valuetext", clock(now));
  timeline.movePlayhead();
}

async function play(start) {
  if (!hasSound) return;
  try {
    await loadSound();
    await start();
  } catch {
    explainSilence();
  }
}

const playPause = () => play(() => wavesurfer.playPause());

const playChosen = () => state.selected
  && play(() => wavesurfer.play(state.selected.onset, state.selected.offset));

function wirePlayer() {
  byId("play").addEventListener("click", playPause);
  byId("speed").addEventListener("change", (event) =>
    wavesurfer.setPlaybackRate(Number(event.target.value)));
  byId("position").max = duration;
  byId("position").addEventListener("input", (event) => seek(Number(event.target.value)));
  wavesurfer.on("timeupdate", showTime);
  wavesurfer.on("seeking", showTime);
  wavesurfer.on("play", () => { byId("play").textContent = "Pause"; });
  wavesurfer.on("pause", () => { byId("play").textContent = "Play"; });
  audio.addEventListener("error", explainSilence);
  if (!hasSound) explainSilence();
}

// --- links: #t=12.3 to a time, #segment=7 to a segment -----------------------------------------

const segmentLink = (item) => (item.index === undefined ? `#t=${item.onset.toFixed(2)}`
  : `#segment=${item.index + 1}`);

const remember = (item) => history.replaceState(null, "", segmentLink(item));

function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const segment = segments[Number(wanted.get("segment")) - 1];
  const time = Number.parseFloat(wanted.get("t"));
  if (segment) choose(segment);
  if (Number.isFinite(time)) {
    seek(time);
    timeline.show({ onset: time, offset: Math.min(time + 10, duration) });
  }
}

async function linkHere() {
  history.replaceState(null, "", `#t=${wavesurfer.getCurrentTime().toFixed(2)}`);
  try {
    await navigator.clipboard.writeText(location.href);
    byId("status").textContent = "The link to this moment is copied.";
  } catch {
    byId("status").textContent = "The address of the page is now the link to this moment.";
  }
}

// --- pages, keys, export -----------------------------------------------------------------------

const pages = ["recording", "classes", "about"];

function openPage(name) {
  for (const page of pages) {
    byId(page).hidden = page !== name;
    byId(`tab-${page}`).setAttribute("aria-selected", page === name);
    byId(`tab-${page}`).tabIndex = page === name ? 0 : -1;
  }
  if (name === "classes") drawClasses();
  if (name === "recording") timeline.redraw();
  drawEvidence();
}

function wirePages() {
  for (const page of pages) byId(`tab-${page}`).addEventListener("click", () => openPage(page));
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.stopPropagation(); // here arrows move between tabs, not in time
    const open = pages.findIndex((page) => !byId(page).hidden);
    const page = pages[(open + step + pages.length) % pages.length];
    openPage(page);
    byId(`tab-${page}`).focus();
  });
}

const move = (step) => choose(list.neighbour(step, wavesurfer.getCurrentTime()));
const skip = (seconds) => seek(wavesurfer.getCurrentTime() + seconds);

const keys = {
  " ": playPause,
  ArrowLeft: (event) => skip(event.shiftKey ? -1 : -5),
  ArrowRight: (event) => skip(event.shiftKey ? 1 : 5),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  n: () => move(1),
  p: () => move(-1),
  Enter: playChosen,
  "+": () => timeline.zoomBy(2),
  "=": () => timeline.zoomBy(2),
  "-": () => timeline.zoomBy(0.5),
  0: () => timeline.zoomAll(),
  Home: () => seek(0),
  End: () => seek(duration),
  "?": () => byId("help").showModal(),
};

const MOVING = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** Whether the focused element has a use of its own for a key. */
function isTaken(target, key) {
  if (byId("help").open || target.closest("select, audio")) return true;
  if (target.closest("input[type=range], input[type=radio], pre") && MOVING.includes(key)) return true;
  if (target.closest("input[type=checkbox], input[type=radio]")) return key === " ";
  return Boolean(target.closest("button, a")) && [" ", "Enter"].includes(key);
}

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event.target, event.key)) return;
    if (byId("recording").hidden && event.key !== "?") return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
  byId("help-open").addEventListener("click", keys["?"]);
  byId("help-close").addEventListener("click", () => byId("help").close());
}

function wireButtons() {
  byId("zoom-in").addEventListener("click", () => timeline.zoomBy(2));
  byId("zoom-out").addEventListener("click", () => timeline.zoomBy(0.5));
  byId("zoom-all").addEventListener("click", () => timeline.zoomAll());
  byId("next").addEventListener("click", () => move(1));
  byId("previous").addEventListener("click", () => move(-1));
  byId("link").addEventListener("click", linkHere);
  byId("panel-all").addEventListener("click", () => listComponents(shownSegment, Infinity));
  const byTime = () => [...list.items].sort((a, b) => a.onset - b.onset);
  const offer = (id, suffix, write, type) => byId(`export-${id}`).addEventListener("click", () =>
    download(`${report.uri}${suffix}`, write(byTime()), type));
  offer("rttm", ".rttm", rttm, "text/plain");
  offer("csv", ".csv", csv, "text/csv");
  offer("audacity", ".txt", audacity, "text/plain");
}

function fillTexts() {
  byId("summary").textContent = `${clock(duration)}, ${plural(segments.length, "segment")}; `
    + `${shownClasses.map((entry) => entry.name).join(", ")}`;
  byId("about-tau").textContent = report.segments.tau;
  byId("about-picture").textContent = report.spectrogram.kind === "sound"
    ? `The spectrogram is that of the sound, a column for ${report.spectrogram.seconds} s.`
    : "No sound was at hand: in place of the spectrogram is what the model reconstructs of it, "
      + `W H, a column for ${report.spectrogram.seconds} s.`;
  byId("provenance").textContent = JSON.stringify(report.provenance, null, 1);
}

fillControls();
fillTexts();
fillClasses();
wirePlayer();
wirePages();
wireKeys();
wireButtons();
filter();
showTime();
wavesurfer.on("ready", () => {
  follow();
  timeline.redraw();
  document.documentElement.dataset.ready = "true";
  // The sound comes last: the page is in use before megabytes of it are decoded.
  setTimeout(loadSound);
});
addEventListener("hashchange", follow);
new ResizeObserver(drawEvidence).observe(byId("panel"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  const colours = theme();
  wavesurfer.setOptions({ waveColor: colours.faint, progressColor: colours.accent });
  drawEvidence();
  if (!byId("classes").hidden) drawClasses();
});
