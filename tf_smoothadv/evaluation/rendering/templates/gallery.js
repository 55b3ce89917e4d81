
const PAGE = 48; // cards shown at once, and added by "Show more"
const { pictures, cards } = data;
const controls = document.getElementById("controls");
const list = document.getElementById("cards");
const swap = document.getElementById("swap");
const more = document.getElementById("more");
let limit = PAGE;
let known = null; // the controls as they were when the gallery was drawn

const whole = (card) => card.files === null; // its pictures are in the page, not a preview and files beside it

function chosen() {
  const { search, order, attack, outcome, network } = Object.fromEntries(new FormData(controls));
  const key = order.replace("-", "");
  const sign = order === key ? 1 : -1;
  const sought = search.trim().toLowerCase();
  return cards
    .filter((card) => [["attack", attack], ["outcome", outcome], ["network", network]]
      .every(([name, value]) => value === "" || card[name] === value))
    .filter((card) => [card.name, card.label, card.prediction].some((text) => text.toLowerCase().includes(sought)))
    .sort((a, b) => (key === "index" && whole(b) - whole(a)) || (a[key] === null) - (b[key] === null)
      || sign * (a[key] - b[key]) || a.index - b.index);
}

function described(card, view) {
  const who = `${card.name}, ${card.title} on ${card.network}`;
  return {
    original: `${card.name}: original, ${card.label}`,
    attacked: view === "image" ? `${who}: adversarial, taken for ${card.prediction}` : `${who}: ${view}`,
  };
}

const several = () => controls.network.length > 2; // "all" and more than one network

function texts(card) {
  const numbers = [["D", card.distortion, 2], ["E", card.energy, 3]]
    .concat(card.margin === null ? [] : [["margin", card.margin, 2]])
    .concat(card.visibility === null ? [] : [["SSIMULACRA2", card.visibility, 1]])
    .map(([name, value, digits]) => `${name} ${value === null ? "–" : value.toFixed(digits)}`);
  return {
    attack: card.title,
    outcome: card.outcome,
    name: card.name + (several() ? `, ${card.network}` : ""),
    classes: card.label === card.prediction ? `${card.label} kept` : `${card.label} → ${card.prediction}`,
    numbers: `${numbers.join(", ")}, at most ±${card.change} of 255`,
  };
}

function drawn(card) {
  const item = document.getElementById("card").content.cloneNode(true);
  const view = controls.view.value;
  const picture = item.querySelector(".picture");
  const alt = described(card, view);
  for (const [name, text] of Object.entries(texts(card))) {
    item.querySelector(`figcaption .${name}`).textContent = text;
  }
  item.querySelector(".outcome").dataset.outcome = card.outcome;
  const link = item.querySelector(".compare");
  link.href = address({ image: card.image, with: [ORIGINAL, key(card)], as: view });
  link.setAttribute("aria-label", `Compare ${alt.attacked}`);
  if (whole(card)) {
    drawBoth(card, view, picture, alt, card.views[view].map((place) => pictures[place]));
  } else {
    drawPreview(card, picture, link);
    approached.set(picture, () => opened(card, view).then((both) => drawBoth(card, view, picture, alt, both), () => {}));
    near.observe(picture);
  }
  return item;
}

function drawBoth(card, view, picture, alt, [original, attacked]) {
  for (const [kind, source] of Object.entries({ original, attacked })) {
    const image = picture.querySelector(`img.${kind}`);
    Object.assign(image, { width: card.width, height: card.height, alt: alt[kind], src: source });
    image.classList.remove("preview");
  }
  const badge = { original: "original", attacked: view === "image" ? "adversarial" : view };
  let hovered = false;
  const update = () => {
    const shown = card.pressed !== hovered ? "original" : "attacked"; // a press swaps under the mouse too
    picture.setAttribute("aria-pressed", card.pressed);
    picture.dataset.shown = shown;
    picture.dataset.badge = badge[shown];
  };
  picture.onclick = () => { card.pressed = !card.pressed; update(); };
  for (const [event, inside] of [["pointerenter", true], ["pointerleave", false]]) {
    picture.addEventListener(event, ({ pointerType }) => { hovered = inside && pointerType === "mouse"; update(); });
  }
  update();
}

// A preview has nothing to swap; pressed, it leads to the files.
function drawPreview(card, picture, link) {
  const image = picture.querySelector("img.attacked");
  Object.assign(image, { width: card.width, height: card.height, src: pictures[card.preview] });
  image.classList.add("preview");
  image.alt = `${card.name}: preview of the original, ${card.label}`;
  picture.removeAttribute("aria-pressed");
  Object.assign(picture.dataset, { badge: "preview of the original", shown: "attacked" });
  picture.onclick = () => link.click();
}

// The files of a card are opened once it comes near to what is seen.
const approached = new WeakMap();
const near = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    near.unobserve(target);
    approached.get(target)();
  }
}, { rootMargin: "50%" });

function render() {
  const selected = chosen();
  const shown = selected.slice(0, limit);
  near.disconnect();
  list.replaceChildren(...shown.map(drawn));
  more.hidden = shown.length === selected.length;
  const images = new Set(selected.map((card) => card.image)).size;
  const are = shown.length < selected.length ? `, ${shown.length} shown` : "";
  document.getElementById("count").textContent = `${selected.length} attacks on ${images} image${images === 1 ? "" : "s"}${are}`;
}

// Draws the gallery where its controls have changed.
function refresh() {
  const now = String(controlled());
  if (now === known) return;
  known = now;
  limit = PAGE;
  render();
}

function pressAll(pressed) {
  swap.setAttribute("aria-pressed", pressed);
  for (const picture of list.querySelectorAll(`.picture[aria-pressed="${!pressed}"]`)) picture.click();
  for (const card of cards) card.pressed = pressed;
}

function moveFocus(event) {
  const buttons = [...list.querySelectorAll(".picture")];
  const top = (button) => button.getBoundingClientRect().top;
  const columns = buttons.filter((button) => top(button) === top(buttons[0])).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  next.focus();
}

// One pixel of a photograph is one pixel of the page; a small image is enlarged by a whole number.
function side() {
  const width = Math.max(...cards.map((card) => card.width));
  return width * Math.max(1, Math.floor(260 / width));
}

if (cards.length) {
  list.style.setProperty("--side", `${side()}px`);
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const event of ["input", "change"]) controls.addEventListener(event, () => { refresh(); keepAddress(); });
  swap.addEventListener("click", () => pressAll(swap.getAttribute("aria-pressed") !== "true"));
  more.addEventListener("click", () => { limit += PAGE; render(); });
  list.addEventListener("keydown", moveFocus);
  for (const card of cards) card.pressed = false;
}
