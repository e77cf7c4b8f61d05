// What is drawn over time, all at the zoom and the scroll position of the waveform.

const MOST_ZOOM = 400; // pixels a second

class Timeline {
  /** chosen(time) and picked(segment) are told what was clicked; state() says what is shown. */
  constructor(wavesurfer, { chosen, picked, state }) {
    Object.assign(this, { wavesurfer, chosen, picked, state, layout: laneLayout(), due: false });
    byId("lanes").style.height = `${this.layout.height}px`;
    this.nameLanes();
    this.nameFrequencies();
    this.describe();
    for (const event of ["scroll", "redrawcomplete", "resize"]) {
      wavesurfer.on(event, () => this.redraw());
    }
    new ResizeObserver(() => this.redraw()).observe(byId("timeline"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.listen();
  }

  get view() {
    const width = this.wavesurfer.getWidth();
    const scale = Math.max(this.wavesurfer.getWrapper().clientWidth, width) / duration;
    const start = this.wavesurfer.getScroll() / scale;
    return { start, end: Math.min(start + width / scale, duration), scale, width };
  }

  /** Draw soon, once, however often it is asked for. */
  redraw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  draw() {
    const view = this.view;
    if (!(view.width > 0)) return; // another tab is shown
    this.drawSpectrogram(view);
    const lanes = prepare(byId("lanes"));
    drawLanes(lanes.context, lanes.width, this.layout, view, this.state());
    const times = prepare(byId("times"));
    drawTimes(times.context, times.width, view);
    const minimap = prepare(byId("minimap"));
    drawMinimap(minimap.context, minimap.width, minimap.height, view);
    this.movePlayhead();
  }

  drawSpectrogram(view) {
    const { context, width, height } = prepare(byId("spectrogram"));
    drawSpectrogram(context, width, height, view.start, view.start + width / view.scale,
      () => this.redraw());
    const { selected } = this.state();
    if (selected?.index === undefined) return;
    const x = (selected.onset - view.start) * view.scale;
    const wide = Math.max((selected.offset - selected.onset) * view.scale, 2);
    context.drawImage(reliefOf(selected), x, 0, wide, height);
    context.strokeStyle = theme().ink;
    context.strokeRect(x, 0.5, wide, height - 1);
  }

  movePlayhead() {
    const view = this.view;
    const x = (this.wavesurfer.getCurrentTime() - view.start) * view.scale;
    const playhead = byId("playhead");
    playhead.hidden = x < -1 || x > view.width + 1;
    playhead.style.left = `${byId("lanes").offsetLeft + x - 1}px`;
  }

  /** Zoom so that `time` stays, or comes to lie, at `x` pixels from the left. */
  zoom(scale, time, x) {
    const least = this.view.width / duration;
    const wanted = Math.min(Math.max(scale, least), Math.max(MOST_ZOOM, least));
    this.wavesurfer.zoom(wanted > least ? wanted : 0);
    this.wavesurfer.setScroll(time * wanted - x);
    this.redraw();
  }

  zoomBy(factor, x = null) {
    const view = this.view;
    const now = (this.wavesurfer.getCurrentTime() - view.start) * view.scale;
    const at = x ?? (now >= 0 && now <= view.width ? now : view.width / 2);
    this.zoom(view.scale * factor, view.start + at / view.scale, at);
  }

  zoomAll() {
    this.zoom(0, 0, 0);
  }

  /** Bring a region into sight, large enough to be seen. */
  show({ onset, offset }) {
    const view = this.view;
    const wide = (offset - onset) * view.scale;
    if (wide < 16) {
      const scale = view.width / Math.max(6 * (offset - onset), 10);
      this.zoom(scale, (onset + offset) / 2, view.width / 2);
    } else if (onset < view.start || Math.min(offset, onset + view.width / view.scale) > view.end) {
      this.wavesurfer.setScroll((wide < view.width ? (onset + offset) / 2 : onset) * view.scale
        - (wide < view.width ? view.width / 2 : view.width / 10));
    }
    this.redraw();
  }

  listen() {
    const time = (event) => {
      const view = this.view;
      return Math.min(view.start + event.offsetX / view.scale, duration);
    };
    byId("spectrogram").addEventListener("click", (event) => this.chosen(time(event)));
    byId("lanes").addEventListener("click", (event) => {
      const segment = this.segmentAt(time(event), event.offsetY);
      if (segment) this.picked(segment);
      else this.chosen(time(event));
    });
    for (const id of ["spectrogram", "lanes", "waveform"]) {
      byId(id).addEventListener("wheel", (event) => this.turn(event), { passive: false });
    }
    const drag = (event) => {
      if (event.type !== "pointerdown" && !(event.buttons & 1)) return;
      const view = this.view;
      const middle = (event.offsetX / byId("minimap").clientWidth) * duration;
      this.wavesurfer.setScroll(middle * view.scale - view.width / 2);
      this.redraw();
    };
    byId("minimap").addEventListener("pointerdown", drag);
    byId("minimap").addEventListener("pointermove", drag);
  }

  turn(event) {
    const bounds = byId("lanes").getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - bounds.left);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.wavesurfer.setScroll(this.wavesurfer.getScroll() + (event.deltaX || event.deltaY));
    }
  }

  segmentAt(time, y) {
    const place = this.layout.rows.find((row) => y >= row.top && y < row.top + row.height);
    const near = 2 / this.view.scale;
    return place && segments.find((s) => s.label === place.entry.name
      && s.onset - near <= time && time < s.offset + near);
  }

  nameLanes() {
    for (const { entry, lane, top, height } of this.layout.rows) {
      const name = element("span", {
        className: lane ? "other" : "class", text: lane ? lane.name : entry.name,
        title: lane ? lane.name : `${entry.name}, from a probability of ${entry.threshold} on`,
      });
      name.style.top = `${top + (lane ? 0 : height / 2 - 9)}px`;
      if (!lane) name.prepend(swatch(entry.colour), " ");
      byId("lane-names").append(name);
    }
  }

  nameFrequencies() {
    const highest = report.readout.frequencies[report.readout.frequencies.length - 1];
    const height = byId("spectrogram").clientHeight;
    for (let khz = 0; khz * 1000 <= highest; khz += 2) {
      const label = element("span", { text: khz ? `${khz} kHz` : "0" });
      const y = (1 - (khz * 1000) / highest) * height;
      label.style.top = `${Math.min(Math.max(y - 7, 1), height - 16)}px`;
      byId("frequencies").append(label);
    }
  }

  describe() {
    byId("spectrogram").setAttribute("aria-label", report.spectrogram.kind === "sound"
      ? "Spectrogram of the recording" : "Spectrogram as the model reconstructs it");
    const counts = shownClasses.map((entry) =>
      plural(segments.filter((s) => s.label === entry.name).length, `${entry.name} segment`));
    byId("lanes").setAttribute("aria-label",
      `Probabilities and segments over time: ${counts.join(", ")}; listed below`);
  }
}
