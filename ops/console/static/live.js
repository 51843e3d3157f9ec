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
  }
}

// Somebody who works with the keyboard stays where they are when the part around them is replaced.
let focused = null;

function alike(element) {
  const href = element.getAttribute("href");
  const selector = element.id ? `#${CSS.escape(element.id)}` : href ? `main a[href="${CSS.escape(href)}"]` : null;
  return selector === null ? null : { selector, place: [...document.querySelectorAll(selector)].indexOf(element) };
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const active = document.activeElement;
  const selection = document.getSelection();
  const target = event.detail.target;
  focused = target.contains(active) ? alike(active) : null;
  if (selection && !selection.isCollapsed && target.contains(selection.anchorNode)) {
    event.detail.shouldSwap = false; // it would take away what is being marked
  }
});

document.addEventListener("htmx:afterSettle", () => {
  if (!focused || document.activeElement !== document.body) return;
  document.querySelectorAll(focused.selector)[focused.place]?.focus({ preventScroll: true });
  focused = null;
});

document.addEventListener("visibilitychange", listen);
listen();
