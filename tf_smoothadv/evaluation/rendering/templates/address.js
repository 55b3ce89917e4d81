
// The page's address tells what is seen: the gallery's controls, and what is compared. It can be kept and opened again.

function controlled() {
  const set = [...new FormData(controls)].filter(([name, value]) => value !== (DEFAULTS[name] ?? ""));
  return new URLSearchParams(set);
}

function address(state) {
  const parameters = controlled();
  if (state) {
    parameters.set("image", state.image);
    for (const name of state.with) parameters.append("with", name);
    parameters.set("as", state.as);
    for (const name of state.zoom ? ["zoom", "x", "y"] : []) parameters.set(name, Number(state[name].toFixed(2)));
  }
  return `#${parameters}`;
}

let later = null;

function keepAddress() {
  clearTimeout(later);
  later = setTimeout(() => {
    const now = address(seen);
    if (now !== (location.hash || "#")) history.replaceState(null, "", now);
  }, 200); // browsers refuse more than some changes a second
}

function openAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const anchor = location.hash.length > 1 && !location.hash.includes("=");
  if (!anchor) {
    controls.reset();
    for (const control of controls.elements) {
      const value = parameters.get(control.name);
      if (control.type === "radio") control.checked ||= control.value === value;
      else if (control.name && value !== null) control.value = value;
      if (control.tagName === "SELECT" && control.selectedIndex < 0) control.selectedIndex = 0; // it has no such value
    }
  }
  refresh();
  const image = parameters.get("image");
  if (!anchor && cardsOf(image).length) {
    const numbers = ["zoom", "x", "y"].map((name) => [name, Number.parseFloat(parameters.get(name))]);
    const views = [...dialog.querySelectorAll("[name=as]")].map((radio) => radio.value);
    compare({
      image,
      with: parameters.getAll("with"),
      as: views.includes(parameters.get("as")) ? parameters.get("as") : views[0],
      ...Object.fromEntries(numbers.filter(([, number]) => Number.isFinite(number))),
    });
  } else if (dialog.open) dialog.close();
}

const DEFAULTS = { view: "image", order: "index" };
if (cards.length) {
  addEventListener("hashchange", openAddress);
  openAddress();
}
