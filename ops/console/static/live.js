// Tells the page's live parts that something has changed. Hidden pages don't listen: browsers allow few connections.
"use strict";
let source = null;

function listen() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (source === null && document.querySelector("[hx-trigger^='changed']")) {
    source = new EventSource("/events");
    source.addEventListener("changed", () => document.body.dispatchEvent(new Event("changed")));
    source.addEventListener("open", () => stale(false));
    source.addEventListener("error", () => {
      stale(true);
      if (source?.readyState === EventSource.CLOSED) {
        source = null; // browsers try again by themselves only after a network fault, not after an answer such as 502
        setTimeout(listen, 5000);
      }
    });
  }
}

// What stands on a page that isn't kept up to date must not be taken for how things are.
function stale(is) {
  const note = document.getElementById("stale");
  if (note) note.hidden = !is;
}

for (const name of ["htmx:sendError", "htmx:responseError"]) document.addEventListener(name, () => stale(true));
document.addEventListener("htmx:afterOnLoad", (event) => event.detail.successful && stale(false));

// Keyboard users stay where they are when the part around them is replaced.
let focused = null;

// Links to one page may be drawn, listed and named in a sentence: the same one is in the same kind of place.
function twins(element) {
  if (element.id) return [...document.querySelectorAll(`#${CSS.escape(element.id)}`)];
  const kind = (link) => link.closest("svg, tr, li, p, h2, h3")?.tagName;
  const href = element.getAttribute("href");
  const links = href ? document.querySelectorAll(`main a[href="${CSS.escape(href)}"]`) : [];
  return [...links].filter((link) => kind(link) === kind(element));
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const active = document.activeElement;
  const selection = document.getSelection();
  const target = event.detail.target;
  focused = null;
  if (target.contains(active)) focused = { element: active, place: twins(active).indexOf(active) };
  if (selection && !selection.isCollapsed && target.contains(selection.anchorNode)) {
    event.detail.shouldSwap = false; // it would take away what is being marked
  }
});

// At once, not when it has settled: a key that is pressed meanwhile would be lost.
document.addEventListener("htmx:afterSwap", () => {
  if (focused && document.activeElement === document.body) {
    twins(focused.element)[focused.place]?.focus({ preventScroll: true });
  }
  focused = null;
});

document.addEventListener("visibilitychange", listen);
listen();
