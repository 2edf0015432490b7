"use strict";

// A video that was not built here: its poster goes, a sentence comes.
for (const video of document.querySelectorAll("video")) {
  video.addEventListener("error", () => video.classList.add("absent"));
  if (video.error) video.classList.add("absent");
}

// ---------------------------------------------------------------- tables: sort by a column, choose the columns
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach((button, place) => button.addEventListener("click", () => {
    const head = button.parentElement;
    const up = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[place].dataset.value;
    const order = (one, two) => {
      const [a, b] = [key(one), key(two)];
      if (a === "" || b === "") return (a === "") - (b === "");  // what is not known stands last either way
      const way = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return up ? way : -way;
    };
    body.append(...[...body.rows].sort(order));
  }));
}

for (const choice of document.querySelectorAll("fieldset.choose")) {
  const tables = choice.nextElementSibling;
  const show = () => { tables.dataset.shown = choice.querySelector("input:checked").value; };
  choice.addEventListener("change", show);
  show();  // a browser may remember the choice of an earlier visit
}

// ---------------------------------------------------------------- wipe between two pictures of one moment
for (const figure of document.querySelectorAll(".wipe")) {
  const picture = figure.querySelector(".picture");
  const border = figure.querySelector("input[type=range]");
  const moments = [...figure.querySelectorAll(".moments button")];
  const sides = {};
  for (const side of ["left", "right"]) {
    sides[side] = {
      chosen: figure.querySelector(`select.${side}`),
      image: picture.querySelector(`img.${side}`),
      name: picture.querySelector(`.name.${side}`),
    };
  }

  const move = () => {
    picture.style.setProperty("--at", `${border.value}%`);
    border.setAttribute("aria-valuetext", `${sides.left.chosen.value} to ${Math.round(border.value)} %, then ${sides.right.chosen.value}`);
  };
  const show = () => {
    const panels = JSON.parse(moments.find(moment => moment.getAttribute("aria-pressed") === "true").dataset.panels);
    for (const { chosen, image, name } of Object.values(sides)) {
      image.src = panels[chosen.value];
      image.alt = name.textContent = chosen.value;
    }
    move();
  };

  border.addEventListener("input", move);
  for (const { chosen } of Object.values(sides)) chosen.addEventListener("change", show);
  figure.querySelector(".swap").addEventListener("click", () => {
    const { left, right } = sides;
    [left.chosen.value, right.chosen.value] = [right.chosen.value, left.chosen.value];
    show();
  });
  for (const moment of moments) {
    moment.addEventListener("click", () => {
      for (const other of moments) other.setAttribute("aria-pressed", String(other === moment));
      show();
    });
  }
  show();
}

// ---------------------------------------------------------------- videos that play in step
// The first one leads. The others are led back by a little more or less speed where they are a little off, and by a jump
// where they are far off; where one has to wait for its data, all wait. A browser may have loaded nothing before the click,
// and may let a video sound only if that click itself plays it, so all are played at once and those that are ready wait.
const NEAR = 0.02, FAR = 0.2;  // seconds

for (const bar of document.querySelectorAll(".step")) {
  const [play, seek, time, sound, speed] = [".play", ".seek", "output", ".sound", ".speed"].map(name => bar.querySelector(name));
  const all = [...bar.parentElement.querySelectorAll("video")];
  const able = () => all.filter(video => !video.error);
  let playing = [], before = [], held = false, next = 0;

  const clock = seconds => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  const tell = () => {
    const [first] = able();
    if (!first || first.readyState < 1) return;
    seek.max = first.duration;
    seek.value = first.currentTime;
    time.textContent = clock(first.currentTime);
    seek.setAttribute("aria-valuetext", `${first.currentTime.toFixed(2)} seconds`);
  };
  const hear = () => { for (const video of playing) video.muted = video !== playing[0] || !sound.checked; };
  const place = seconds => { for (const video of able()) video.currentTime = Math.min(seconds, video.duration || seconds); };
  const go = video => video.play().catch(error => { if (error.name !== "AbortError" && !video.error) stop(); });
  const stop = () => {
    for (const [video, muted] of before) video.muted = muted;
    playing = before = [];
    cancelAnimationFrame(next);
    held = false;
    play.textContent = "Play all in step";
    for (const video of all) {
      video.pause();
      video.playbackRate = Number(speed.value);
    }
    tell();
  };
  const start = () => {
    playing = able();
    if (!playing.length) return;
    before = playing.map(video => [video, video.muted]);
    place(playing[0].ended ? 0 : playing[0].currentTime);
    hear();
    play.textContent = "Pause all";
    for (const video of playing) {
      video.preload = "auto";
      video.playbackRate = Number(speed.value);
      go(video);
    }
    next = requestAnimationFrame(watch);
  };
  const lead = (video, first) => {
    const off = video.currentTime - first.currentTime;
    if (Math.abs(off) > FAR && !video.seeking) video.currentTime = first.currentTime;
    video.playbackRate = Number(speed.value) * (Math.abs(off) > NEAR ? 1 - Math.max(-0.1, Math.min(0.1, off)) : 1);
  };
  const watch = () => {
    if (playing.some(video => video.error)) {
      playing = playing.filter(video => !video.error);
      hear();
    }
    const [first] = playing;
    if (!first || first.ended) return stop();
    const running = playing.filter(video => !video.ended);
    const starved = running.some(video => video.readyState < 3);
    if (starved) {
      for (const video of running) {
        if (video.readyState >= 3) video.pause();
        else if (video.paused) go(video);  // what does not play may not load
      }
    } else if (held) {
      running.forEach(go);
    } else if (running.some(video => video.paused)) {
      return stop();  // somebody stopped one of them by its own button
    }
    held = starved;
    if (!held) for (const video of running.slice(1)) lead(video, first);
    tell();
    next = requestAnimationFrame(watch);
  };

  play.addEventListener("click", () => (playing.length ? stop() : start()));
  seek.addEventListener("input", () => {
    place(Number(seek.value));
    time.textContent = clock(Number(seek.value));
  });
  sound.addEventListener("change", hear);
  speed.addEventListener("change", () => { for (const video of all) video.playbackRate = Number(speed.value); });
  for (const video of all) video.addEventListener("loadedmetadata", tell);
  tell();
}
