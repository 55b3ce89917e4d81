"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

// Pointing at a chart, or moving its slider, tells the numbers at that place in the legend.
function pointable(figure, { stops, lines }) {
  const slider = figure.querySelector(".slider input");
  const area = figure.querySelector(".area");
  const rows = [...figure.querySelectorAll("tbody tr")];

  function tell() {
    const stop = Number(slider.value);
    const [place, text] = stops[stop];
    figure.querySelector(".cursor").style.left = `${100 * place}%`;
    figure.querySelector("output").textContent = text;
    for (const [line, row] of rows.entries()) {
      for (const [column, cell] of [...row.querySelectorAll("td")].entries()) {
        cell.textContent = lines[line][stop][column];
      }
    }
    const told = rows.map((row) => [...row.children].map((cell) => cell.textContent.trim()).join(" "));
    slider.setAttribute("aria-valuetext", `${text}: ${told.join("; ")}`);
  }

  function point(event) {
    const { left, width } = area.getBoundingClientRect();
    const pointed = (event.clientX - left) / width;
    const nearest = stops.reduce((best, [place], stop) =>
      (Math.abs(place - pointed) < Math.abs(stops[best][0] - pointed) ? stop : best), 0);
    slider.value = nearest;
    tell();
  }

  slider.addEventListener("input", tell);
  area.addEventListener("pointermove", point);
  area.addEventListener("pointerdown", point);
  tell();
}

// Pointing at a row of the legend, or touching it, brings out its line.
function tellable(figure) {
  const bring = (row) => {
    for (const told of figure.querySelectorAll(".told")) told.classList.remove("told");
    figure.toggleAttribute("data-told", Boolean(row));
    if (!row) return;
    for (const part of figure.querySelectorAll(`[data-line="${row.dataset.line}"]`)) part.classList.add("told");
  };
  for (const row of figure.querySelectorAll("tbody tr")) {
    row.addEventListener("pointerenter", () => bring(row));
    row.addEventListener("pointerleave", () => bring(null));
  }
}

for (const [place, figure] of [...document.querySelectorAll(".chart")].entries()) {
  tellable(figure);
  if (data.charts[place].stops.length) pointable(figure, data.charts[place]);
}
