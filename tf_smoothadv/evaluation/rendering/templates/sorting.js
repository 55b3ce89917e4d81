
// A press on a heading sorts the rows by its column, another one the other way round, a third one as they were.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

// What a cell is sorted by: its first number, or its text; what is not known comes last.
function rank(row, column) {
  const text = row.children[column].textContent.trim();
  const number = Number.parseFloat(text.replaceAll(",", "").replace(/^at most /, ""));
  return { text, number, unknown: text === "" || text === "–" };
}

function compared(a, b, sign) {
  if (a.unknown || b.unknown) return a.unknown - b.unknown;
  const numbers = !Number.isNaN(a.number) && !Number.isNaN(b.number);
  return sign * (numbers ? a.number - b.number : a.text.localeCompare(b.text, undefined, { numeric: true }));
}

function sortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headings = [...table.querySelectorAll("th[aria-sort]")];
  for (const [column, heading] of headings.entries()) {
    heading.querySelector("button").addEventListener("click", () => {
      const order = NEXT[heading.getAttribute("aria-sort")];
      for (const other of headings) other.setAttribute("aria-sort", other === heading ? order : "none");
      const sign = order === "descending" ? -1 : 1;
      const sorted = order === "none" ? rows
        : [...rows].sort((a, b) => compared(rank(a, column), rank(b, column), sign));
      body.append(...sorted);
    });
  }
}

for (const table of document.querySelectorAll("#tables table")) sortable(table);
