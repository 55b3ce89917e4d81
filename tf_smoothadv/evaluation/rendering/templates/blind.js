"use strict";

const LONGEST = 25; // trials from break to break, at most
const BLANK = 500; // milliseconds without images before each trial
const element = (id) => document.getElementById(id);
const packed = Uint8Array.from(atob(element("experiment").textContent), (letter) => letter.charCodeAt(0));
const experiment = JSON.parse(new TextDecoder().decode(packed));
const pictures = JSON.parse(element("pictures").textContent);
const single = experiment.design === "single";
const choices = single ? ["changed", "unchanged"] : ["left", "right"];
const stage = element("stage");
const images = single ? [element("first")] : [element("first"), element("second")];

const seeds = crypto.getRandomValues(new Uint32Array(2));
const seed = [...seeds].map((part) => part.toString(16).padStart(8, "0")).join("");
const draw = generator(...seeds);
const count = experiment.trials.length * (single ? 2 : 1);
const every = Math.ceil(count / Math.ceil(count / LONGEST));
const answers = [];
let give = null; // takes the answer that is awaited
let stopped = false;

// Numbers in [0, 1), the same for the same seed: sfc32 of PractRand.
function generator(a, b, c = 0, counter = 1) {
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let round = 0; round < 15; round++) next();
  return next;
}

function shuffled(list) {
  const result = [...list];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(draw() * (last + 1));
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

// What is true of each question: a pair has the changed image on either side, a single image comes changed and not.
function questions(trials) {
  if (!single) return shuffled(trials.map((trial) => ({ trial, truth: choices[Math.floor(draw() * 2)] })));
  return shuffled(trials.flatMap((trial) => choices.map((truth) => ({ trial, truth }))));
}

function practice() {
  if (!single) return questions(experiment.training);
  return shuffled(choices.map((truth, place) => ({ trial: experiment.training[place], truth })));
}

const pause = (time) => new Promise((resolve) => { setTimeout(resolve, time); });
const frame = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
const pressed = (id) => new Promise((resolve) => { element(id).addEventListener("click", resolve, { once: true }); });

function turnTo(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  element(id).querySelector("h1").focus();
  window.scrollTo(0, 0);
}

// Each pixel of an image is `zoom` pixels of the screen a side, whatever the page's own are.
function fit() {
  for (const image of images) image.style.width = `${(image.naturalWidth * experiment.zoom) / devicePixelRatio}px`;
  const stacked = !single && images[0].offsetTop !== images[1].offsetTop;
  const names = single ? ["Changed", "Not changed"] : stacked ? ["Upper", "Lower"] : ["Left", "Right"];
  const arrows = stacked ? ["↑", "↓"] : ["←", "→"];
  const keys = ["F", "J"];
  for (const [place, id] of ["yes", "no"].entries()) {
    element(id).textContent = `${names[place]} (${arrows[place]} or ${keys[place]})`;
  }
  for (const [place, image] of images.entries()) image.alt = single ? "Image" : `${names[place]} image`;
  return names;
}

// Tells of a window in which images do not stand side by side, or not as a whole.
function warn() {
  const room = document.documentElement.clientWidth;
  const width = (experiment.width * experiment.zoom) / devicePixelRatio;
  const small = element("small");
  small.hidden = (single ? width : 2 * width + 24) <= room;
  small.textContent = width > room
    ? "This window is too narrow for the images: enlarge it, or take another screen."
    : "This window is too narrow for two images side by side: enlarge it, or they stand one above the other.";
}

// Shows the images of a question until they are answered or the time is over; null where the observer stops.
async function ask({ trial, truth }) {
  stage.classList.remove("shown");
  const changed = pictures[trial.changed];
  const original = pictures[trial.original];
  const shown = single ? [truth === "changed" ? changed : original]
    : truth === "left" ? [changed, original] : [original, changed];
  images.forEach((image, place) => { image.src = shown[place]; });
  await Promise.all([pause(BLANK), ...images.map((image) => image.decode())]);
  if (stopped) return null;
  fit();
  stage.classList.add("shown");
  await frame();
  const begun = performance.now();
  const over = experiment.seconds
    ? setTimeout(() => { stage.classList.remove("shown"); }, 1000 * experiment.seconds) : null;
  element("yes").parentElement.classList.add("awaited");
  const given = await new Promise((resolve) => { give = resolve; });
  give = null;
  element("yes").parentElement.classList.remove("awaited");
  clearTimeout(over);
  stage.classList.remove("shown");
  return given && { answer: choices[given.place], ms: Math.max(0, Math.round(given.time - begun)) };
}

function progress(done, all, text) {
  element("bar").max = all;
  element("bar").value = done;
  element("progress").textContent = text;
}

async function train() {
  const asked = practice();
  for (const [place, question] of asked.entries()) {
    progress(0, 1, `Practice ${place + 1} of ${asked.length}`);
    const { answer } = await ask(question);
    const names = fit();
    const truth = names[choices.indexOf(question.truth)].toLowerCase();
    stage.classList.add("shown");
    element("told").textContent = `${answer === question.truth ? "Correct" : "Not so"}: `
      + (single ? `this image was ${truth === "changed" ? "" : "not "}changed.` : `the ${truth} image was changed.`);
    element("onward").hidden = false;
    element("onward").focus();
    await pressed("onward");
    element("onward").hidden = true;
    element("told").textContent = "";
    element("question").focus();
  }
}

async function test() {
  const asked = questions(experiment.trials);
  element("stop").hidden = false;
  for (const [place, question] of asked.entries()) {
    if (place && place % every === 0) {
      element("left").textContent = `${asked.length - place} of ${asked.length} questions are left.`;
      turnTo("rest");
      await pressed("continue");
      turnTo("trial");
    }
    progress(place, asked.length, `Question ${place + 1} of ${asked.length}`);
    const given = await ask(question);
    if (!given) break;
    const { attack, image, catch: isCatch } = question.trial;
    answers.push({ attack, image, catch: isCatch, truth: question.truth, ...given });
  }
}

function save(pseudonym) {
  const { version, identity, design, seconds, zoom, magnified } = experiment;
  const content = {
    version, identity, design, seconds, zoom, magnified, pseudonym, seed, planned: count,
    device_pixel_ratio: devicePixelRatio, screen: [screen.width, screen.height], trials: answers,
  };
  const link = element("save");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  link.download = `answers-${pseudonym.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.json`;
  element("file").textContent = link.download;
  link.click();
}

const keep = (event) => { event.preventDefault(); };

async function run() {
  element("planned").textContent = `${count} questions${every < count ? `, with a break after every ${every}` : ""}`;
  element("pseudonym").placeholder = `observer-${seed.slice(0, 6)}`;
  warn();
  addEventListener("resize", () => { warn(); if (!element("trial").hidden) fit(); });
  await new Promise((resolve) => {
    element("begin").addEventListener("submit", (event) => { event.preventDefault(); resolve(); }, { once: true });
  });
  const { value, placeholder } = element("pseudonym");
  const pseudonym = value.replace(/\p{C}/gu, "").trim() || placeholder; // without what does not print
  addEventListener("beforeunload", keep);
  if (single) element("second").remove();
  turnTo("trial");
  fit(); // the buttons have names from the first moment on
  await train();
  await test();
  turnTo("end");
  element("saved").hidden = !answers.length;
  element("nothing").hidden = answers.length > 0;
  if (answers.length) save(pseudonym);
  removeEventListener("beforeunload", keep);
}

const KEYS = { ArrowLeft: 0, ArrowUp: 0, f: 0, F: 0, ArrowRight: 1, ArrowDown: 1, j: 1, J: 1 };
document.addEventListener("keydown", (event) => {
  const place = KEYS[event.key];
  if (place === undefined || element("trial").hidden || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault(); // of scrolling
  if (give && !event.repeat) give({ place, time: event.timeStamp });
});
for (const [place, id] of ["yes", "no"].entries()) {
  element(id).addEventListener("click", (event) => { if (give) give({ place, time: event.timeStamp }); });
}
element("stop").addEventListener("click", () => {
  stopped = true;
  if (give) give(null);
});
run();
