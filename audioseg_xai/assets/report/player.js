// The sound: embedded, linked to, or none. wavesurfer.js plays it and draws the waveform.

const audio = byId("audio");
const hasSound = report.media.kind !== "none";

// Embedded sound lies at the end of the page, behind this script.
const parsed = new Promise((resolve) => {
  if (document.readyState !== "loading") resolve();
  else document.addEventListener("DOMContentLoaded", resolve, { once: true });
});

/** Hand the sound to the browser, once; embedded sound is decoded here, piece by piece. */
async function loadSound() {
  await parsed;
  if (audio.src || !hasSound) return;
  if (report.media.kind === "link") {
    audio.src = report.media.link;
    return;
  }
  const data = byId("audio-data");
  const pieces = data.textContent.trim().split("\n").map(decodeBase64);
  data.textContent = ""; // it would be in memory twice
  audio.src = URL.createObjectURL(new Blob(pieces, { type: "audio/ogg" }));
}

function makeWavesurfer() {
  const colours = theme();
  const peaks = report.waveform ? unpack(report.waveform.peaks).row(0) : new Float32Array(2);
  return WaveSurfer.create({
    container: byId("waveform"),
    media: audio,
    peaks: [peaks],
    duration,
    height: 64,
    normalize: true,
    waveColor: colours.faint,
    progressColor: colours.accent,
    cursorWidth: 0,
    minPxPerSec: 0,
    autoCenter: false,
    dragToSeek: true,
    cspNonce: document.querySelector("style").nonce,
  });
}

function explainSilence() {
  const note = byId("sound-note");
  const reasons = {
    none: "This page has no sound: it was made without.",
    link: `This browser cannot play ${report.media.link}: is it still there, and of a kind it knows?`,
    embed: "This browser cannot play Opus sound in Ogg files.",
  };
  note.textContent = reasons[report.media.kind];
  note.hidden = false;
  byId("play").disabled = true;
  byId("speed").disabled = true;
}
