// Lists of regions: only the rows in sight exist, however many there are.

const ROW = 30;

class RegionList {
  constructor(box, choose) {
    Object.assign(this, { box, choose, items: [], selected: -1 });
    this.sheet = element("div");
    this.sheet.setAttribute("role", "presentation");
    box.append(this.sheet);
    box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
    box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(this.items[Number(row.dataset.position)]);
    });
  }

  show(items) {
    const before = this.items[this.selected];
    this.items = items;
    this.selected = items.indexOf(before);
    this.sheet.style.height = `${items.length * ROW}px`;
    this.draw();
  }

  select(item) {
    this.selected = this.items.indexOf(item);
    const top = this.selected * ROW;
    const { scrollTop, clientHeight } = this.box;
    if (this.selected >= 0 && (top < scrollTop || top + ROW > scrollTop + clientHeight)) {
      this.box.scrollTop = top - clientHeight / 2;
    }
    this.draw();
  }

  /** The item `step` places from the selected one, or from the time `now` when there is none. */
  neighbour(step, now) {
    const last = this.items.length - 1;
    if (last < 0) return null;
    if (this.selected >= 0) return this.items[Math.min(Math.max(this.selected + step, 0), last)];
    const later = this.items.findIndex((item) => item.onset >= now);
    if (step > 0) return this.items[later < 0 ? last : later];
    return this.items[later < 0 ? last : Math.max(later - 1, 0)];
  }

  draw() {
    const { scrollTop, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(scrollTop / ROW) - 4);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / ROW) + 4);
    const rows = [];
    for (let n = first; n < last; n++) rows.push(this.row(this.items[n], n));
    this.sheet.replaceChildren(...rows);
    if (this.selected >= first && this.selected < last) {
      this.box.setAttribute("aria-activedescendant", `row-${this.selected}`);
    } else {
      this.box.removeAttribute("aria-activedescendant");
    }
  }

  row(item, position) {
    const row = element("div", { className: "row", id: `row-${position}` },
      swatch(classNamed.get(item.label).colour),
      element("span", { text: `${clock(item.onset)} \u2013 ${clock(item.offset)}` }),
      element("span", { text: item.label }),
      element("span", { className: "detail", text: item.note ?? `confidence ${item.confidence.toFixed(2)}` }));
    row.dataset.position = position;
    row.style.top = `${position * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", position === this.selected);
    row.setAttribute("aria-setsize", this.items.length);
    row.setAttribute("aria-posinset", position + 1);
    return row;
  }
}

const findings = (list) =>
  list.map(({ onset, offset, label, what, lane }) =>
    ({ onset, offset, label, note: lane ? `${what} (${lane})` : what }));

// What can be listed: the segments, where others differ, and where the model is least certain.
const kinds = [
  { name: "segments", title: "Segments", items: segments },
  ...(report.lanes.length
    ? [{ name: "differing", title: "Differences", items: findings(report.differing) }] : []),
  { name: "uncertain", title: "Least certain", items: findings(report.uncertain) },
];
