// Looks at pages of the site in a frame, as test_site_in_browser.py asks in the address, and posts
// what it finds.
"use strict";

// The contrast that WCAG 2 asks of text (level AA).
const READABLE = 4.5;
const frame = document.querySelector("iframe");

function open(page) {
  return new Promise((done) => {
    frame.onload = done;
    frame.src = `/${page}`;
  });
}

// [red, green, blue, alpha] of a computed colour, each of 0 … 1.
const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
const brush = canvas.getContext("2d", { willReadFrequently: true });

function components(colour) {
  brush.clearRect(0, 0, 1, 1);
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 1, 1);
  return [...brush.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
}

function over(above, below) {
  return above.slice(0, 3).map((part, i) => part * above[3] + below[i] * (1 - above[3]));
}

function background(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    layers.push(components(getComputedStyle(at).backgroundColor));
  }
  return layers.reverse().reduce((below, above) => over(above, below), [1, 1, 1]);
}

function luminance(colour) {
  const [red, green, blue] = colour.map((part) =>
    part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(element) {
  const below = background(element);
  const lights = [over(components(getComputedStyle(element).color), below), below].map(luminance);
  return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
}

// Kinds of text that are hard to read: [element, class, contrast], one for each kind.
function faint(inner) {
  const kinds = new Map();
  for (const element of inner.querySelectorAll(".md-content *, .md-sidebar a")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const kind = `${element.tagName}.${element.className}`;
    if (own && !kinds.has(kind) && element.checkVisibility() && !element.closest("svg")) {
      kinds.set(kind, contrast(element));
    }
  }
  return [...kinds].filter(([kind, ratio]) => ratio < READABLE && !kind.includes("headerlink"))
    .map(([kind, ratio]) => [kind, Math.round(ratio * 10) / 10]);
}

// What reaches over the right edge without being in something that scrolls.
function wide(inner, width) {
  return [...inner.querySelectorAll(".md-content *")].filter((element) => {
    if (element.getBoundingClientRect().right <= width) return false;
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return false;
    }
    return true;
  }).slice(0, 3).map((element) => `${element.tagName}: ${element.textContent.slice(0, 60)}`);
}

async function measure({ pages, widths }) {
  const found = [];
  for (const width of widths) {
    frame.style = `width: ${width}px; height: 900px; border: 0`;
    for (const [number, page] of pages.entries()) {
      await open(page);
      const inner = frame.contentDocument;
      const scheme = number % 2 === (width > 800 ? 1 : 0) ? "default" : "slate";
      // Colours are measured where they end, not on their way from one scheme to the other.
      inner.head.append(Object.assign(inner.createElement("style"),
        { textContent: "* { transition: none !important; animation: none !important; }" }));
      inner.body.setAttribute("data-md-color-scheme", scheme);
      const hosts = frame.contentWindow.performance.getEntriesByType("resource")
        .map((entry) => new URL(entry.name)).filter((url) => url.protocol !== "data:")
        .map((url) => url.hostname);
      found.push({
        page, width, scheme, hosts: [...new Set(hosts)], faint: faint(inner), wide: wide(inner, width),
        over: inner.documentElement.scrollWidth - inner.documentElement.clientWidth,
      });
    }
  }
  return found;
}

// The links that the search shows for the words, once the page that is awaited is among them.
async function search({ search: words, until }) {
  frame.style = "width: 1280px; height: 900px; border: 0";
  await open("index.html");
  const inner = frame.contentDocument;
  inner.querySelector(".md-search__button").click();
  for (;;) {
    const dialog = [...inner.querySelectorAll("*")]
      .find((element) => element.shadowRoot?.querySelector("[role=combobox]"))?.shadowRoot;
    const links = [...dialog?.querySelectorAll("a") ?? []].map((link) => link.href);
    if (links.some((link) => link.includes(until))) return links;
    const field = dialog?.querySelector("[role=combobox]");
    if (field && field.value !== words) {
      field.value = words;
      field.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

const question = JSON.parse(decodeURIComponent(location.search.slice(1)));
(question.pages ? measure : search)(question).then((found) =>
  fetch("/measured", { method: "POST", body: JSON.stringify(found) }));
