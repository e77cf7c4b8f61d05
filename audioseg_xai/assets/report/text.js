// Times, frequencies and files as people write them.

function clock(seconds, decimals = 1) {
  const unit = 10 ** decimals;
  const whole = Math.round(seconds * unit) / unit;
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const rest = (whole % 60).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const hertz = (f) =>
  f === null ? "silent" : f >= 1000 ? `${(f / 1000).toFixed(2)} kHz` : `${Math.round(f)} Hz`;

// A true minus sign is as wide as a plus, and is read out as one.
const signed = (x, decimals = 2) =>
  `${x < 0 ? "\u2212" : "+"}${Math.abs(x).toFixed(decimals)}`;

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function rttm(items) {
  const ms = (seconds) => Math.round(seconds * 1000);
  return items
    .map(({ onset, offset, label, confidence }) => {
      const start = (ms(onset) / 1000).toFixed(3);
      const length = ((ms(offset) - ms(onset)) / 1000).toFixed(3);
      const sure = confidence == null ? "<NA>" : confidence.toFixed(3);
      return `SPEAKER ${report.uri} 1 ${start} ${length} <NA> <NA> ${label} ${sure} <NA>\n`;
    })
    .join("");
}

function csv(items) {
  const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  const rows = items.map((item) =>
    [report.uri, item.label, item.onset.toFixed(3), item.offset.toFixed(3),
      item.confidence?.toFixed(4), item.note].map(cell).join(","));
  return ["uri,class,onset,offset,confidence,note", ...rows, ""].join("\r\n");
}

function audacity(items) {
  return items
    .map(({ onset, offset, label, confidence, note }) => {
      const text = note ? `${label}: ${note}` : `${label} ${(confidence ?? 0).toFixed(2)}`;
      return `${onset.toFixed(6)}\t${offset.toFixed(6)}\t${text.replace(/\s+/g, " ")}\n`;
    })
    .join("");
}

function download(name, text, type) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([text], { type }));
  anchor.download = name.replace(/[\\/:*?"<>|\s]+/g, "_");
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

/** An element with text in it: names never become markup. */
function element(tag, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = element("span", { className: "swatch" });
  made.style.background = colour;
  return made;
}
