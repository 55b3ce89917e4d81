
// Images of one original side by side: all show the same part of it, at the same zoom, with the same pixel marked.
const ORIGINAL = "original";
const STEP = 1.25; // of the zoom
const LARGEST = 64; // screen pixels a side for one of the image
const dialog = document.getElementById("compare");
const panels = document.getElementById("panels");
const beside = document.getElementById("beside");
let seen = null; // {image, with, as, zoom, x, y, pixel}; x, y is the middle of the window, zoom 0 the whole image

const key = (card) => card.attack + (several() ? ` on ${card.network}` : "");
const title = (card) => card.title + (several() ? ` on ${card.network}` : "");
const cardsOf = (image) => cards.filter((card) => card.image === image);
const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

const kinds = ["original", "attacked"];

function panel(caption, card, kind, view) {
  const figure = document.getElementById("panel").content.cloneNode(true).firstElementChild;
  const image = figure.querySelector("img");
  const place = kinds.indexOf(kind);
  image.alt = described(card, view)[kind];
  if (whole(card)) image.src = pictures[card.views[view][place]];
  else openFile(figure, card, place, view);
  figure.querySelector(".window").style.aspectRatio = `${card.width} / ${card.height}`;
  for (const [name, text] of Object.entries(caption)) figure.querySelector(`.${name}`).textContent = text;
  if (caption.outcome) figure.querySelector(".outcome").dataset.outcome = caption.outcome;
  return figure;
}

// A preview is shown until what is in the files comes, or a line that says why it does not.
async function openFile(figure, card, place, view) {
  const image = figure.querySelector("img");
  const value = figure.querySelector(".value");
  const { alt } = image;
  Object.assign(image, { alt: `${card.name}: preview of the original`, className: "preview", src: pictures[card.preview] });
  value.textContent = "Preview of the original until this is there.";
  try {
    const source = view === "image" ? (await decoded(card.files[place])).src : (await opened(card, view))[place];
    Object.assign(image, { alt, className: "", src: source });
    value.textContent = "";
    if (figure.isConnected) tell(figure);
  } catch (error) {
    value.textContent = `Only a preview of the original: ${error.message}.`;
  }
}

function drawPanels() {
  const group = cardsOf(seen.image);
  const [first] = group;
  const view = seen.as;
  const chosenCards = group.filter((card) => seen.with.includes(key(card)));
  const made = chosenCards.map((card) => {
    const { outcome, classes, numbers } = texts(card);
    return panel({ attack: title(card), outcome, classes, numbers }, card, "attacked", view);
  });
  if (seen.with.includes(ORIGINAL)) {
    const caption = { attack: ORIGINAL, classes: first.label };
    made.unshift(panel(caption, first, "original", view));
  }
  panels.replaceChildren(...made);
  document.getElementById("compared").textContent = first.name;
  const options = [[ORIGINAL, ORIGINAL], ...group.map((card) => [key(card), title(card)])].map(([value, text]) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value, checked: seen.with.includes(value) });
    label.append(box, text);
    return label;
  });
  beside.replaceChildren(beside.querySelector("legend"), ...options);
  for (const radio of dialog.querySelectorAll("[name=as]")) {
    radio.checked = radio.value === view;
  }
  dialog.querySelector(".folder")?.toggleAttribute("hidden", whole(first));
  lay();
}

// Where the window shows the image: it is filled as far as the image reaches.
function layout() {
  const [{ width, height }] = cardsOf(seen.image);
  const { clientWidth, clientHeight } = panels.querySelector(".window");
  const whole = Math.min(clientWidth / width, clientHeight / height);
  const most = Math.max(LARGEST, whole);
  const zoom = clamped(seen.zoom, whole, most);
  const middle = (at, pixels, room) => (pixels * zoom <= room ? pixels / 2
    : clamped(at, room / 2 / zoom, pixels - room / 2 / zoom));
  const [x, y] = [middle(seen.x, width, clientWidth), middle(seen.y, height, clientHeight)];
  return { width, height, whole, most, zoom, x, y, left: clientWidth / 2 - x * zoom, top: clientHeight / 2 - y * zoom };
}

function lay() {
  if (!panels.children.length) return;
  const { width, height, whole, most, zoom, x, y, left, top } = layout();
  Object.assign(seen, { x, y, zoom: zoom === whole ? 0 : zoom });
  const px = (number) => `${number}px`;
  for (const figure of panels.children) {
    Object.assign(figure.querySelector("img").style,
      { width: px(width * zoom), height: px(height * zoom), left: px(left), top: px(top) });
    Object.assign(figure.querySelector(".mark").style, {
      width: px(zoom), height: px(zoom), left: px(left + seen.pixel.x * zoom), top: px(top + seen.pixel.y * zoom),
    });
    tell(figure);
  }
  document.getElementById("zoom").textContent = `${zoom >= 10 ? zoom.toFixed(0) : zoom.toFixed(1)}×`;
  document.getElementById("out").disabled = zoom <= whole;
  document.getElementById("in").disabled = zoom >= most;
  keepAddress();
}

// The value of the marked pixel.
async function tell(figure) {
  const image = figure.querySelector("img");
  try {
    await image.decode();
  } catch {
    return; // no such file: a preview comes in its place
  }
  if (!seen || image.className === "preview") return;
  if (!figure.context) {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    figure.context = canvas.getContext("2d", { willReadFrequently: true });
    figure.context.drawImage(image, 0, 0);
  }
  const { x, y } = seen.pixel;
  figure.querySelector(".value").textContent = `column ${x}, row ${y}: ${valueAt(figure.context, x, y)}`;
}

function valueAt(context, x, y) {
  try {
    const [red, green, blue] = context.getImageData(x, y, 1, 1).data;
    return red === green && green === blue ? red : `${red}, ${green}, ${blue}`;
  } catch { // browsers let no page read a file of the disk
    return "its value is told once the folder of the run is opened below";
  }
}

function mark(x, y) {
  const { width, height } = layout();
  seen.pixel = { x: clamped(Math.floor(x), 0, width - 1), y: clamped(Math.floor(y), 0, height - 1) };
}

// Zooms so that what lies under a point of the window stays there; by default the marked pixel comes to the middle.
function zoomBy(factor, point) {
  const before = layout();
  const zoom = clamped(before.zoom * factor, before.whole, before.most);
  if (point) {
    const stays = (at, start, middle) => (at - start) / before.zoom - ((at - start) / before.zoom - middle) * (before.zoom / zoom);
    seen.x = stays(point.x, before.left, before.x);
    seen.y = stays(point.y, before.top, before.y);
  } else {
    [seen.x, seen.y] = [seen.pixel.x + 0.5, seen.pixel.y + 0.5];
  }
  seen.zoom = zoom;
  lay();
}

// One pointer drags or marks, two pinch.
const pointers = new Map();

function pointIn(event) {
  const { left, top } = event.target.closest(".window").getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
}

function point(event) {
  const { left, top, zoom } = layout();
  const { x, y } = pointIn(event);
  mark((x - left) / zoom, (y - top) / zoom);
  lay();
}

function moved(event) {
  if (!event.target.closest(".window")) return;
  const held = pointers.get(event.pointerId);
  if (!held) { point(event); return; }
  const others = [...pointers.values()].filter((one) => one !== held);
  const now = pointIn(event);
  const { zoom } = layout();
  if (others.length) {
    const [other] = others;
    const apart = ({ x, y }) => Math.hypot(x - other.x, y - other.y);
    zoomBy(apart(now) / Math.max(apart(held), 1), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  } else {
    seen.x -= (now.x - held.x) / zoom;
    seen.y -= (now.y - held.y) / zoom;
    lay();
  }
  pointers.set(event.pointerId, now);
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressedKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || !panels.children.length) return;
  if (MOVES[event.key]) {
    const [across, down] = MOVES[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
    mark(seen.pixel.x + across, seen.pixel.y + down);
    [seen.x, seen.y] = [seen.pixel.x + 0.5, seen.pixel.y + 0.5];
    lay();
  } else if (event.key === "+" || event.key === "=") zoomBy(STEP);
  else if (event.key === "-") zoomBy(1 / STEP);
  else if (event.key === "0") zoomBy(0);
  else return;
  event.preventDefault();
}

function changed() {
  seen.with = [...beside.querySelectorAll(":checked")].map((box) => box.value);
  seen.as = dialog.querySelector("[name=as]:checked").value;
  const focused = document.activeElement.value;
  drawPanels();
  if (focused) [...beside.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
  keepAddress();
}

// The image before or after this one, in the gallery's order, under the same attacks as far as it has them.
function turn(step) {
  const images = [...new Set(chosen().map((card) => card.image))];
  const at = images.indexOf(seen.image);
  seen.image = images[(at + step + images.length) % images.length] ?? seen.image;
  drawPanels();
}

function compare(state) {
  const [{ width, height }] = cardsOf(state.image);
  seen = { zoom: 0, x: width / 2, y: height / 2, as: controls.view.value, ...state };
  seen.pixel = { x: clamped(Math.floor(seen.x), 0, width - 1), y: clamped(Math.floor(seen.y), 0, height - 1) };
  if (!dialog.open) dialog.showModal();
  drawPanels();
}

if (cards.length) {
  panels.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".window")) return;
    pointers.set(event.pointerId, pointIn(event));
    event.target.setPointerCapture(event.pointerId);
    point(event);
  });
  panels.addEventListener("pointermove", moved);
  for (const event of ["pointerup", "pointercancel"]) {
    panels.addEventListener(event, ({ pointerId }) => pointers.delete(pointerId));
  }
  panels.addEventListener("wheel", (event) => {
    if (!event.target.closest(".window")) return;
    event.preventDefault();
    zoomBy(STEP ** (-event.deltaY / 100), pointIn(event));
  }, { passive: false });
  panels.addEventListener("keydown", pressedKey);
  dialog.addEventListener("change", changed);
  dialog.addEventListener("close", () => { seen = null; keepAddress(); });
  addEventListener("resize", () => { if (seen) lay(); });
  for (const [id, action] of Object.entries({
    in: () => zoomBy(STEP), out: () => zoomBy(1 / STEP), whole: () => zoomBy(0),
    previous: () => turn(-1), next: () => turn(1), close: () => dialog.close(),
  })) document.getElementById(id).addEventListener("click", action);
}
