// Searches in the page that it is put into, and leaves what is found in the body's data-found.
"use strict";

document.querySelector(".md-search__button").click();
const timer = setInterval(() => {
  const dialog = [...document.querySelectorAll("*")]
    .find((element) => element.shadowRoot?.querySelector("[role=combobox]"))?.shadowRoot;
  const field = dialog?.querySelector("[role=combobox]");
  const links = [...dialog?.querySelectorAll("a") ?? []].map((link) => link.href);
  if (links.length > 0) {
    document.body.dataset.found = links.join(" ");
    clearInterval(timer);
  } else if (field && field.value !== "rollback") {
    field.value = "rollback";
    field.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
  }
}, 100);
