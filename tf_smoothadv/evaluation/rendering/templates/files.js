
// Images that are not in the page are files in the folder of the run. Its views of them are computed here, from their
// pixels, which browsers give to a page of a web server, or once the reader has opened the folder for it.
const BLOCK = 32; // rows between two moments at which the page can answer
const given = new Map(); // files of folders that the reader has opened, by path
const computed = new Map(); // promises of views, by image and view

class NoPixels extends Error {}

// The path of a given file ends that of the file on the disk, which the page knows from where it lies itself.
function located(file) {
  const parts = decodeURIComponent(new URL(file, location).pathname).split("/");
  const path = parts.map((_, start) => parts.slice(start).join("/")).find((end) => given.has(end));
  return path === undefined ? file : given.get(path);
}

// The addresses of the original and of what the attack made of it, in a view.
function opened(card, view) {
  if (view === "image") return Promise.all(card.files.map(async (file) => (await decoded(file)).src));
  const name = `${view} ${card.image}`;
  if (!computed.has(name)) computed.set(name, computedViews(cardsOf(card.image), view));
  return computed.get(name).then((views) => views.get(card));
}

async function decoded(file) {
  const image = new Image();
  image.src = located(file);
  try {
    await image.decode();
  } catch {
    throw new Error(`cannot open ${file} from where this page lies`);
  }
  return image;
}

async function pixelsOf(file, { width, height, channels }) {
  const image = await decoded(file);
  const changed = new Error(`${file} has changed since this report was made`);
  if (image.naturalWidth !== width || image.naturalHeight !== height) throw changed;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(image, 0, 0);
  let rgba;
  try {
    rgba = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new NoPixels("open the folder of the run below, or this page from a web server: browsers let it read no file of the disk");
  }
  const values = new Uint8ClampedArray(width * height * channels);
  for (let at = 0; at < values.length; at += 1) values[at] = rgba[4 * Math.floor(at / channels) + (at % channels)];
  return { width, height, channels, values };
}

// Each card of an image with the addresses of the two pictures that are seen in place of each other.
async function computedViews(group, view) {
  const [first] = group;
  const original = await pixelsOf(first.files[0], first);
  const attacked = await Promise.all(group.map((card) => pixelsOf(card.files[1], card)));
  for (const [place, card] of group.entries()) {
    const squares = attacked[place].values.reduce((sum, value, at) => sum + (value - original.values[at]) ** 2, 0);
    if (squares !== card.squares) throw new Error(`${card.files.join(" or ")} has changed since this report was made`);
  }
  const shown = view === "perturbation" ? [original, ...attacked.map((one) => perturbation(original, one))]
    : rescaled(await magnifiedAll([original, ...attacked]));
  const [unchanged, ...others] = await Promise.all(shown.map(addressOf));
  return new Map(group.map((card, place) => [card, [unchanged, others[place]]]));
}

async function addressOf({ width, height, channels, values }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let at = 0; at < pixels.data.length; at += 1) {
    const channel = at % 4;
    pixels.data[at] = channel === 3 ? 255 : values[Math.floor(at / 4) * channels + Math.min(channel, channels - 1)];
  }
  context.putImageData(pixels, 0, 0);
  return URL.createObjectURL(await canvas.convertToBlob());
}

// As pictures.perturbation: each channel scaled to its own largest value; grey is nothing.
function perturbation(original, attacked) {
  const { channels } = original;
  const change = Int16Array.from(attacked.values, (value, at) => value - original.values[at]);
  const peaks = new Array(channels).fill(1);
  for (const [at, value] of change.entries()) peaks[at % channels] = Math.max(peaks[at % channels], Math.abs(value));
  const values = Float64Array.from(change, (value, at) => 128 + Math.round((127 * value) / peaks[at % channels]));
  return { ...original, values };
}

// As tf_smoothadv.magnify (22), the images one after the other.
async function magnifiedAll(images) {
  const magnified = [];
  for (const image of images) magnified.push(await magnify(image));
  return magnified;
}

async function magnify(image) {
  const { beta } = data.magnification;
  const { values, channels } = image;
  const mean = await filtered(values, image);
  const deviation = Float64Array.from(values, (value, at) => value - mean[at]);
  const local = await filtered(deviation.map((value) => value ** 2), image);
  const overall = Array.from({ length: channels }, (_, channel) => standardDeviation(values, channels, channel));
  const scaled = deviation.map((value, at) => {
    const contrast = beta * Math.sqrt(local[at]) + (1 - beta) * overall[at % channels];
    return contrast === 0 ? 0 : value / contrast;
  });
  return { ...image, values: scaled };
}

function standardDeviation(values, channels, channel) {
  const count = values.length / channels;
  let [sum, squares] = [0, 0];
  for (let at = channel; at < values.length; at += channels) {
    sum += values[at];
    squares += values[at] ** 2;
  }
  return Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
}

// The bilateral filter of a signal, guided by an image of levels from 0 to 255; grey ones are taken as three channels,
// two of them zero, so that the loop has nothing but numbers in it.
async function filtered(signal, { values, width, height, channels }) {
  const { sigma_space: space, sigma_range: range, radius } = data.magnification;
  const spatial = Float64Array.from({ length: 2 * radius + 1 }, (_, at) => Math.exp(-((at - radius) ** 2) / (2 * space ** 2)));
  const like = Float64Array.from({ length: 3 * 255 ** 2 + 1 }, (_, squares) => Math.exp(-squares / (2 * (255 * range) ** 2)));
  const [guide, from, result] = [new Int32Array(3 * width * height), new Float64Array(3 * width * height), new Float64Array(signal.length)];
  for (let at = 0; at < signal.length; at += 1) {
    const place = 3 * Math.floor(at / channels) + (at % channels);
    guide[place] = values[at];
    from[place] = signal[at];
  }
  for (let y = 0; y < height; y += 1) {
    if (y % BLOCK === 0) await new Promise((done) => { setTimeout(done); });
    for (let x = 0; x < width; x += 1) {
      const means = meanAround(x, y, { guide, from, width, height, spatial, like, radius });
      for (let channel = 0; channel < channels; channel += 1) result[(y * width + x) * channels + channel] = means[channel];
    }
  }
  return result;
}

function meanAround(x, y, { guide, from, width, height, spatial, like, radius }) {
  const here = 3 * (y * width + x);
  const [red, green, blue] = [guide[here], guide[here + 1], guide[here + 2]];
  const [left, right] = [Math.max(0, x - radius), Math.min(width - 1, x + radius)];
  const [top, bottom] = [Math.max(0, y - radius), Math.min(height - 1, y + radius)];
  let [total, reds, greens, blues] = [0, 0, 0, 0];
  for (let row = top; row <= bottom; row += 1) {
    const vertical = spatial[row - y + radius];
    let there = 3 * (row * width + left);
    for (let column = left; column <= right; column += 1) {
      const r = guide[there] - red;
      const g = guide[there + 1] - green;
      const b = guide[there + 2] - blue;
      const weight = vertical * spatial[column - x + radius] * like[r * r + g * g + b * b];
      total += weight;
      reds += weight * from[there];
      greens += weight * from[there + 1];
      blues += weight * from[there + 2];
      there += 3;
    }
  }
  return [reds / total, greens / total, blues / total];
}

// All to one range, so that they compare.
function rescaled(images) {
  const extreme = (which) => which(...images.map(({ values }) => values.reduce((a, b) => which(a, b))));
  const [low, high] = [extreme(Math.min), extreme(Math.max)];
  const scale = high > low ? 255 / (high - low) : 0;
  return images.map((image) => ({ ...image, values: image.values.map((value) => Math.round(scale * (value - low))) }));
}

for (const input of document.querySelectorAll(".folder input")) {
  input.addEventListener("change", () => {
    for (const file of input.files) given.set(file.webkitRelativePath, URL.createObjectURL(file));
    computed.clear();
    render();
    if (seen) drawPanels();
  });
}
